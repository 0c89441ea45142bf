"""What a tune job is after: one objective or several, and bounds that a trial must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dsl.figures import Constraint, figure
from dsl.outcome import Outcome, TrialState
from search.settings import Objective

BROKEN = "feasible"
"""Name of the constraint that a trial which diverged violates."""


@dataclass(frozen=True)
class Lesson:
    """What one trial teaches."""

    values: list[float] | None
    """One for each objective; None where training came to nothing."""

    limits: dict[str, float]
    """For each constraint, in order, how far it is exceeded, in (-1, 1): above 0 is violated."""

    @property
    def feasible(self) -> bool:
        """Whether training came to something, within all bounds."""
        return self.values is not None and all(limit <= 0 for limit in self.limits.values())


class Aims:
    """The objectives of a search, in order, and its constraints."""

    def __init__(
        self, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> None:
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """Return Optuna's words for the objectives' directions."""
        return [objective.direction for objective in self.objectives]

    @property
    def figures(self) -> tuple[str, ...]:
        """Return the names of all figures that objectives and constraints are about."""
        named = [*(o.metric for o in self.objectives), *(c.metric for c in self.constraints)]
        return tuple(dict.fromkeys(named))

    @property
    def broken(self) -> float:
        """Return by how much one that diverged violates `BROKEN`: more than any can violate all."""
        return 1.0 + len(self.constraints)

    def lesson(self, outcome: Outcome) -> Lesson:
        """Return what an outcome teaches.

        Raises:
            ValueError: it says COMPLETE or PRUNED and lacks a metric that is asked for.
        """
        found = {name: figure(outcome, name) for name in self.figures}
        if outcome.state in (TrialState.COMPLETE, TrialState.PRUNED):
            for name in (name for name, value in found.items() if value is None):
                raise ValueError(
                    f"trial {outcome.number} is {outcome.state} without the objective '{name}'; "
                    f"it has: {', '.join(sorted(outcome.metrics)) or 'no metrics'}"
                )
        return self.of({name: value for name, value in found.items() if value is not None})

    def of(self, figures: Mapping[str, float]) -> Lesson:
        """Return what these figures teach; nothing but that it failed where some are missing."""
        if any(name not in figures for name in self.figures):
            return Lesson(None, {})
        limits = {}
        for each in self.constraints:
            sign, bound = ("<=", each.at_most) if each.at_least is None else (">=", each.at_least)
            excess = each.excess(figures[each.metric])
            # Squashed, or the one with the largest unit would outweigh the others.
            limits[f"{each.metric} {sign} {bound:g}"] = excess / (1 + abs(excess))
        return Lesson([figures[each.metric] for each in self.objectives], limits)

    def worse(self, one: Lesson | None, other: Lesson) -> Lesson:
        """Return a lesson as bad as the worst of both, objective by objective, bound by bound."""
        if one is None or one.values is None or other.values is None:
            return other if one is None or one.values is None else one
        pairs = zip(self.objectives, one.values, other.values, strict=True)
        values = [max(a, b) if each.sign() > 0 else min(a, b) for each, a, b in pairs]
        limits = {name: max(limit, other.limits[name]) for name, limit in one.limits.items()}
        return Lesson(values, limits)
