import pytest

from dsl.candidate import Candidate
from optimizers.catalogue import CATALOGUE
from workers import screening
from workers.screening import fault, steep
from workers.tasks.registry import TASKS

SLOW_STARTERS = {"nos_exp_g_exp_m"}
"""Of the catalogue's rules those that ten steps on quadratics would reject: this one stands still
where the gradient does not change."""


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_no_named_rule_is_at_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate(rule=CATALOGUE[name].rule)
    assert fault(candidate) is None
    assert fault(candidate, steep=True) is None
    # as if a search had found it
    monkeypatch.setattr(screening, "_named", frozenset)
    assert (fault(candidate) is not None) == (name in SLOW_STARTERS)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("g +", "line 1, column 4"),
        ("hello(g)", "hello"),
        ("w", "ignores the gradient"),
        ("log(g - abs(g))", "not finite at step 0"),
        ("1 / prev(g)", "not finite at step 0"),
        ("where(t - 2, log(g - abs(g)), g)", "not finite at step 3"),
        ("g * 0.000000000000000000000000000000000000000000000000001", "zero"),
        ("sign(exp(g))", "the same for every weight"),
        ("norm(g)", "the same for every weight"),
        ("abs(g)", "never negative on a probe"),
        ("-exp(g)", "never positive on a probe"),
        ("drop(g^2, 0.5)", "never negative on a probe"),
        ("-g", "after 2 steps the lowest is 100.1%"),
        ("g^2 - mean(g^2)", "does not descend"),
        ("w * exp(g)", "does not descend"),
        ("0.00005 * sign(g)", "below 95% of its start; after 2 steps the lowest is 99.6%"),
        ("0.000125 * sign(g)", "below 95% of its start; after 10 steps the lowest is 95.1%"),
        ("noise(0.1) + 0.00001 * g", "no learning rate from 1e-05 to 10"),
    ],
)
def test_a_faulty_rule_is_rejected_with_its_reason(rule: str, reason: str) -> None:
    assert reason in (fault(Candidate(rule=rule)) or "accepted")


def test_who_names_the_rate_sees_how_a_rule_ascends() -> None:
    for rule in ("-g", "abs(g)"):
        assert fault(Candidate(rule=rule)) is not None
        assert fault(Candidate(rule=rule, lr=0.1)) is None


def test_the_rates_of_the_protocol_are_tried_too() -> None:
    small = Candidate(rule="0.00001 * clip(g, 0.001)")
    assert "from 1e-05 to 10 " in (fault(small) or "")
    assert fault(small, (1e6,)) is None


def test_small_updates_are_enough_where_gradients_are_steep() -> None:
    small = Candidate(rule="0.00001 * sign(m)")
    assert fault(small) is not None
    assert fault(small, steep=True) is None
    tasks = ("digits-mlp", "wine", "breast-cancer", "beale")
    assert [steep(TASKS[name]) for name in tasks] == [False, False, True, True]


def test_a_rule_is_judged_the_same_whatever_was_judged_before() -> None:
    rules = ["m + noise(0.1)", "drop(g, 0.5) + noise(0.1)", "g + noise(1)"]
    alone = [fault(Candidate(rule=rule)) for rule in rules]
    assert [fault(Candidate(rule=rule)) for rule in reversed(rules)] == alone[::-1]


def test_an_unknown_hyperparameter_is_a_fault() -> None:
    found = fault(Candidate(rule="trace(g, mu)", hyperparameters={"nu": 0.5}))
    assert found == "the rule has no hyperparameter 'nu'; it has: mu"


def test_a_weight_decay_that_no_rule_has_is_a_fault() -> None:
    assert "decay is 'own'" in (fault(Candidate(rule="g", decay="own", weight_decay=0.1)) or "")
    found = fault(Candidate(rule="g", decay="l2", weight_decay=-0.1))
    assert found == "weight_decay is -0.1, but it must be 0 or more"


@pytest.mark.parametrize("rule", ["min(T, g)", "where(T, g, w)", "max(norm(g), T) * m"])
def test_the_number_of_steps_is_a_number_like_others(rule: str) -> None:
    assert fault(Candidate(rule=rule)) is None


def test_a_power_that_is_nothing_where_it_trains_is_at_fault() -> None:
    assert "not finite" in (fault(Candidate(rule="alpha ^ log(w) * g")) or "accepted")
