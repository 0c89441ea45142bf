import pytest
from pydantic import ValidationError

from dsl.figures import COSTS, Constraint, figure
from dsl.outcome import Outcome, TrialState


def test_a_figure_is_a_metric_or_a_cost() -> None:
    outcome = Outcome(
        number=0,
        state=TrialState.COMPLETE,
        step=7,
        metrics={"validation_loss": 0.5},
        cost_steps=21,
        cost_seconds=1.5,
        slots=2,
    )
    assert [figure(outcome, name) for name in COSTS] == [1.5, 21.0, 7.0, 2.0]
    assert figure(outcome, "validation_loss") == 0.5
    assert figure(outcome, "validation_r2") is None


def test_a_constraint_bounds_one_side() -> None:
    most = Constraint(metric="cost_seconds", at_most=2.0)
    assert (most.excess(2.0), most.excess(2.5), most.excess(0.5)) == (0.0, 0.5, -1.5)
    assert most.complaint(2.5) == "cost_seconds is 2.5, and at most 2 is allowed"
    least = Constraint(metric="validation_accuracy", at_least=0.75)
    assert (least.excess(0.75), least.excess(0.5)) == (0.0, 0.25)
    assert least.complaint(0.5) == "validation_accuracy is 0.5, and at least 0.75 is wanted"


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({}, "needs either at_most or at_least; give one"),
        ({"at_most": 1.5, "at_least": 0.5}, "both: at_most is 1.5 and at_least is 0.5; make two"),
    ],
)
def test_a_constraint_without_one_bound_is_refused(bounds: dict[str, float], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Constraint(metric="step", **bounds)
