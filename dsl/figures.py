"""What trials are compared by, beside their objective: measured metrics and what a trial cost."""

from collections.abc import Mapping
from typing import Protocol, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from dsl.schema import Frozen, Real

COSTS = ("cost_seconds", "cost_steps", "step", "slots")
"""Figures of every outcome that no task measures: core-seconds and training steps over all
learning rates and seeds, steps of the longest run, numbers of optimizer state per weight."""

SPENT = {"cost_seconds", "cost_steps"}
"""Of these what a trial spent, which is nothing where its outcome was taken over."""


class Judged(Protocol):
    """What has figures: an outcome, or a trial as the service shows it."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured, by name."""

    @property
    def cost_seconds(self) -> float:
        """See `COSTS`."""

    @property
    def cost_steps(self) -> int:
        """See `COSTS`."""

    @property
    def step(self) -> int:
        """See `COSTS`."""

    @property
    def slots(self) -> int:
        """See `COSTS`."""


def figure(judged: Judged, name: str) -> float | None:
    """Return a metric or a cost by its name, None for a metric that was not measured."""
    if name in COSTS:
        return float(getattr(judged, name))
    return judged.metrics.get(name)


class Constraint(Frozen):
    """A bound on a figure; a trial that ends beyond it is INFEASIBLE and never the best."""

    metric: str
    """A metric of the task, or a cost: `cost_seconds`, `cost_steps`, `step`, `slots`."""

    at_most: Real | None = None
    at_least: Real | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise PydanticCustomError(
                "one_of", "a constraint needs either at_most or at_least; give one of them"
            )
        if self.at_most is not None and self.at_least is not None:
            raise PydanticCustomError(
                "one_of",
                "a constraint has one bound, and this one has both: at_most is {at_most} and "
                "at_least is {at_least}; make two constraints of it",
                {"at_most": self.at_most, "at_least": self.at_least},
            )
        return self

    def excess(self, value: float) -> float:
        """Return how far a figure lies beyond the bound; 0 or less where it keeps it."""
        if self.at_most is not None:
            return value - self.at_most
        assert self.at_least is not None
        return self.at_least - value

    def complaint(self, value: float) -> str:
        """Return a sentence about a figure that lies beyond the bound."""
        if self.at_most is not None:
            return f"{self.metric} is {value:.6g}, and at most {self.at_most:g} is allowed"
        return f"{self.metric} is {value:.6g}, and at least {self.at_least:g} is wanted"
