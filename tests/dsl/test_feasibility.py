"""What keeps a job's bounds, and what did before another job asked it."""

import pytest

from dsl.feasibility import bounded, unbounded
from dsl.figures import Constraint
from dsl.outcome import Outcome, TrialState

LOSS = Constraint(metric="validation_loss", at_most=0.5)
STEPS = Constraint(metric="cost_steps", at_least=10)
COMPLETE = Outcome(
    number=3, state=TrialState.COMPLETE, metrics={"validation_loss": 0.7}, cost_steps=5
)


def test_what_ends_beyond_bounds_keeps_its_figures_and_says_each() -> None:
    found = bounded(COMPLETE, [LOSS, STEPS])
    assert found.state is TrialState.INFEASIBLE
    assert found.reason == (
        "validation_loss is 0.7, and at most 0.5 is allowed; "
        "cost_steps is 5, and at least 10 is wanted"
    )
    assert found.metrics == COMPLETE.metrics
    assert unbounded(found) == COMPLETE
    within = COMPLETE.model_copy(update={"metrics": {"validation_loss": 0.5}})
    assert bounded(within, [LOSS]) is within
    with pytest.raises(ValueError, match="nothing measures 'r2', a constraint"):
        bounded(COMPLETE, [Constraint(metric="r2", at_least=0)])


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.INFEASIBLE])
def test_what_came_to_no_end_is_judged_by_no_bound(state: TrialState) -> None:
    metrics = {"validation_loss": 0.7} if state is TrialState.PRUNED else {}
    outcome = Outcome(number=0, state=state, reason="diverged", metrics=metrics)
    assert bounded(outcome, [LOSS]) is outcome
    assert unbounded(outcome) is outcome
