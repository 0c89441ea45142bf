"""A bound that a trial ends beyond makes it INFEASIBLE, with its figures and the reason."""

import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.figures import Constraint
from dsl.outcome import TrialState
from workers.evaluation import judge
from workers.protocol import Evaluation, Protocol, TaskSpec

PROPOSALS = [
    Proposal(number=number, candidate=Candidate(rule="g", lr=lr))
    for number, lr in enumerate((0.3, 1e-5, 1e30))
]


def evaluation(*constraints: Constraint) -> Evaluation:
    return Evaluation(
        task=TaskSpec(name="wine"),
        protocols={Stage.SEARCH: Protocol(steps=20)},
        constraints=constraints,
    )


def test_what_ends_beyond_a_bound_is_infeasible() -> None:
    bounds = (
        Constraint(metric="validation_accuracy", at_least=0.9),
        Constraint(metric="cost_steps", at_most=20),
    )
    good, slow, wild = judge(evaluation(*bounds), PROPOSALS)
    assert (good.state, good.reason) == (TrialState.COMPLETE, None)
    assert slow.state is TrialState.INFEASIBLE
    assert slow.reason is not None
    assert slow.reason.startswith("validation_accuracy is 0.")
    assert slow.metrics["validation_accuracy"] < 0.9
    assert slow.curve
    assert wild.state is TrialState.INFEASIBLE
    assert "allowed" not in (wild.reason or "")
    assert not wild.metrics, "what diverged has no figures"
    tight = judge(evaluation(Constraint(metric="cost_steps", at_most=19)), PROPOSALS[:1])[0]
    assert tight.reason == "cost_steps is 20, and at most 19 is allowed"


def test_a_bound_on_what_is_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing measures 'validation_r2'.*validation_accuracy"):
        judge(evaluation(Constraint(metric="validation_r2", at_least=0.5)), PROPOSALS[:1])
