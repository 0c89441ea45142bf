import pytest

from dsl.candidate import Candidate
from optimizers.catalogue import CATALOGUE
from workers.screening import fault


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_no_named_rule_is_at_fault(name: str) -> None:
    assert fault(Candidate(rule=CATALOGUE[name].rule)) is None


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
    ],
)
def test_a_faulty_rule_is_rejected_with_its_reason(rule: str, reason: str) -> None:
    assert reason in (fault(Candidate(rule=rule)) or "accepted")


def test_an_unknown_hyperparameter_is_a_fault() -> None:
    found = fault(Candidate(rule="trace(g, mu)", hyperparameters={"nu": 0.5}))
    assert found == "the rule has no hyperparameter 'nu'; it has: mu"
