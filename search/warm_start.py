"""Warm starts: what a search learns from the trials of an earlier one before its first."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dsl.schema import Frozen, Real
from search.space import Point, SearchSpace, is_active, takes

MOST = 100
"""Trials that are learnt from; of more, so many from the best to the worst."""

LEARNING = ("tpe", "gp")
"""Samplers that learn from trials which they did not ask for."""


class KnownTrial(Frozen):
    """What came of a point in an earlier search."""

    parameters: Point
    value: Real | None
    """The objective; null where training diverged."""

    figures: Annotated[dict[str, Real], Field(max_length=16)] = {}
    """Of a job with several objectives or with constraints: those figures, by name."""


class WarmStart(Frozen):
    """Trials of an earlier search: those of a job, filled in when it is submitted, or given."""

    job: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """An ended tune job with the same task and objective."""

    trials: Annotated[tuple[KnownTrial, ...], Field(max_length=MOST)] = ()

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.job is None and not self.trials:
            raise PydanticCustomError(
                "one_of", "a warm start needs a job's id or trials; give one of them"
            )
        return self


def fits(trial: KnownTrial, space: SearchSpace) -> bool:
    """Return whether a trial's point is one that this space could have given."""
    point = trial.parameters
    there = {name for name, parameter in space.items() if is_active(parameter, point)}
    return point.keys() == there and all(takes(space[name], point[name]) for name in there)
