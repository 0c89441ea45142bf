"""One bad apple costs only itself."""

from collections.abc import Sequence

import pytest

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from workers.evaluation import judge
from workers.protocol import Evaluation, TaskSpec
from workers.trainable import JUDGE, judge_apart, resolve

EVALUATION = Evaluation(task=TaskSpec(name="digits-mlp"), protocols={})
PROPOSALS = [Proposal(number=n, candidate=Candidate(rule="g", lr=0.1)) for n in range(6)]


class Judge:
    """Fails for some numbers, and counts how often it is called."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)
        self.calls = 0

    def __call__(
        self, evaluation: Evaluation, proposals: Sequence[Proposal], *, device: str
    ) -> list[Outcome]:
        self.calls += 1
        for proposal in proposals:
            if proposal.number in self.bad:
                raise ArithmeticError(f"no {proposal.number}")
        return [Outcome(number=p.number, state=TrialState.COMPLETE) for p in proposals]


def test_a_good_population_is_judged_at_once() -> None:
    count = Judge()
    outcomes, lost = judge_apart(count, EVALUATION, PROPOSALS, "cpu")
    assert [outcome.number for outcome in outcomes] == [0, 1, 2, 3, 4, 5]
    assert lost == []
    assert count.calls == 1


def test_what_raises_is_found_and_the_others_are_judged() -> None:
    outcomes, lost = judge_apart(Judge(2, 5), EVALUATION, PROPOSALS, "cpu")
    assert [outcome.number for outcome in outcomes] == [0, 1, 3, 4]
    assert lost == [
        {"number": 2, "error": "ArithmeticError: no 2"},
        {"number": 5, "error": "ArithmeticError: no 5"},
    ]


def test_functions_are_named_not_pickled() -> None:
    assert resolve(JUDGE) is judge
    with pytest.raises(AttributeError):
        resolve("workers.evaluation:nothing_of_that_name")
