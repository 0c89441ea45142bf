"""What a tune job may be after: several objectives, and bounds on figures."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from dsl.figures import COSTS, Constraint
from search.settings import Objective
from service.refusals import unknown
from workers.protocol import TaskSpec
from workers.tasks.registry import TASKS


def with_first_objective(body: Any) -> Any:
    """Return a body that names several objectives with the first as its `objective`.

    One alone is the job's `objective` and no list. One that is none is left where it stands, to be
    refused there, and so is a first that `objective` contradicts.
    """
    several = body.get("objectives") if isinstance(body, dict) else None
    if not isinstance(several, list | tuple) or not several:
        return body
    try:
        first = Objective.model_validate(several[0])
        own = Objective.model_validate(body.get("objective", first))
        task = TASKS[TaskSpec.model_validate(body.get("task")).name]
    except (ValidationError, KeyError):
        return body
    if first.metric not in task.metrics or own != first:
        return body
    alone = {"objectives": ()} if len(several) == 1 else {}
    return {**body, "objective": first, **alone}


def check_figures(named: Sequence[Objective | Constraint], task: str, objectives: bool) -> None:
    """Refuse figures that no outcome has; the first of several objectives must be a metric.

    Raises:
        PydanticCustomError: one is not allowed; `at` says which.
    """
    for i, each in enumerate(named):
        metrics = TASKS[task].metrics
        if objectives and i == 0 and each.metric not in metrics:
            unknown("metric", each.metric, metrics, i, "metric")
        if each.metric not in (*metrics, *COSTS):
            unknown("metric or cost", each.metric, [*metrics, *COSTS], i, "metric")
