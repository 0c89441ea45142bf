"""Which candidates are near-copies of others, and which finds of their own."""

import pytest

from dsl.candidate import Candidate, ScheduleSpec
from search.distinct import Distinct, distinct

SIGNUM = Candidate(rule="sign(ema(g, beta))")
COPY = Candidate(rule="sign(ema(g, beta)) + clip(w, 0.0001)")


def test_the_first_of_those_that_are_alike_is_taken() -> None:
    copies = ("g + clip(w, 0.00001)", "sign(g)", "3 * g", "sign(g + clip(w, 0.00001))")
    rules = ("g", *copies, "m", "w * g")
    candidates = [Candidate(rule=rule) for rule in rules]
    assert distinct(candidates, 10) == [0, 2, 5, 6]
    assert distinct(candidates, 2) == [0, 2]
    assert distinct(candidates, 10, known=candidates[1:2]) == [2, 5, 6]


def test_known_ones_may_be_near_copies_of_each_other() -> None:
    """A chain: the middle one is near to both ends, which are not near to each other."""
    chain = [Candidate(rule=f"m + {share} * g") for share in (0.0, 0.14, 0.28)]
    assert distinct(chain, 3) == [0, 2]
    assert distinct([chain[1], chain[0], chain[2]], 3) == [0]
    assert not Distinct(chain[:2]).add(chain[2])


def test_seeds_and_learning_rates_do_not_count() -> None:
    assert not Distinct([SIGNUM]).add(COPY.model_copy(update={"seed": 5, "lr": 0.1}))


@pytest.mark.parametrize(
    "other",
    [
        {"hyperparameters": {"beta": 0.99}},
        {"schedule": ScheduleSpec(name="cosine")},
        {"batch_size": 7},
        {"decay": "decoupled", "weight_decay": 0.1},
    ],
)
def test_other_numbers_make_another_candidate(other: dict[str, object]) -> None:
    one = COPY.model_copy(update=other)
    assert Distinct([SIGNUM]).add(one)
    assert not Distinct([one]).add(one)


def test_hyperparameters_that_make_a_rule_what_another_is_do_not_save_it() -> None:
    slow = COPY.model_copy(update={"hyperparameters": {"beta": 0.99}})
    assert not Distinct([Candidate(rule="sign(ema(g, 0.99))")]).add(slow)


def test_another_library_has_no_near_copies() -> None:
    names = ("torch.optim.Muon", "pytorch_optimizer.SOAP")
    foreign = [Candidate(rule=name, decay="own") for name in names]
    assert distinct([*foreign, foreign[0], SIGNUM], 10) == [0, 1, 3]


def test_rules_whose_course_is_not_finite_are_copies_of_the_same_alone() -> None:
    rules = ("exp(1e9 * abs(g))", "g * exp(1e9 * abs(g))", "2 * exp(1e9 * abs(g))", "g")
    assert distinct([Candidate(rule=rule) for rule in rules], 10) == [0, 1, 3]
