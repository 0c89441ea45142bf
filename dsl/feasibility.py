"""Whether an outcome keeps the bounds that a job sets on its figures."""

from collections.abc import Sequence

from dsl.figures import Constraint, figure
from dsl.outcome import Outcome, TrialState

__all__ = ["bounded", "unbounded"]


def bounded(outcome: Outcome, constraints: Sequence[Constraint]) -> Outcome:
    """Return a COMPLETE outcome beyond a bound as INFEASIBLE, with its figures and the reason.

    Raises:
        ValueError: nothing measures what a constraint is about.
    """
    if outcome.state is not TrialState.COMPLETE:
        return outcome
    complaints = []
    for each in constraints:
        value = figure(outcome, each.metric)
        if value is None:
            allowed = ", ".join(outcome.metrics)
            raise ValueError(f"nothing measures {each.metric!r}, a constraint; allowed: {allowed}")
        if each.excess(value) > 0:
            complaints.append(each.complaint(value))
    if not complaints:
        return outcome
    update = {"state": TrialState.INFEASIBLE, "reason": "; ".join(complaints)}
    return outcome.model_copy(update=update)


def unbounded(outcome: Outcome) -> Outcome:
    """Return an outcome as it was before any bound was asked of it.

    One that came to nothing by itself has no figures; one that is INFEASIBLE and has them ended
    beyond a bound.
    """
    if outcome.state is not TrialState.INFEASIBLE or not outcome.metrics:
        return outcome
    return outcome.model_copy(update={"state": TrialState.COMPLETE, "reason": None})
