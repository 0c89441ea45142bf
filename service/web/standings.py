"""Rows of a leaderboard, and the place of their dots and whiskers on a common scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Literal

from dsl.candidate import Stage
from service.resources import Standing, Trial

WIDTH = 150.0
"""Width of the plot beside each row, in user units of its SVG."""

MARGIN = 8.0
SHOWN = ("test_loss", "test_accuracy")
"""Metrics with a column of their own beside the objective, where any row has them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rule's evaluation, from whichever resource it came."""

    rule_id: str
    rule: str
    label: str | None
    task: str
    stage: Stage
    job_id: str
    number: int
    metric: str
    value: float
    lr: float | None
    metrics: dict[str, float]
    spread: dict[str, float]
    seeds: int
    steps: int
    slots: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot and its whisker, one standard deviation to either side, in SVG units."""

    x: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard ready to be set."""

    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    metrics: tuple[str, ...]
    reference: float | None
    """Where the named baseline `adamw` stands on the scale, if it is a row."""

    low: float
    high: float
    """The values at the ends of the scale."""


def from_standing(standing: Standing) -> Row:
    """Return the row of a standing."""
    names = Row.__dataclass_fields__
    return Row(**{name: getattr(standing, name) for name in names})


def from_trial(trial: Trial, task: str, metric: str) -> Row | None:
    """Return the row of a trial, or None if it has no value."""
    if trial.value is None:
        return None
    return Row(
        trial.rule_id,
        trial.rule,
        trial.label,
        task,
        trial.stage,
        trial.job_id,
        trial.number,
        metric,
        trial.value,
        trial.lr,
        dict(trial.metrics),
        dict(trial.spread),
        trial.seeds,
        trial.step,
        trial.slots,
    )


def ranked(rows: Sequence[Row], direction: Literal["minimize", "maximize"]) -> list[Row]:
    """Return rows from best to worst."""
    sign = 1.0 if direction == "minimize" else -1.0
    return sorted(rows, key=lambda row: (sign * row.value, row.number))


def board(rows: Sequence[Row]) -> Board:
    """Lay rows out in the order given.

    The scale is logarithmic where all values are positive, and leaves out rows beyond ten times
    the median's distance from the first: one diverged baseline must not squeeze the others.
    """
    ordered = tuple(rows)
    if not ordered:
        return Board((), (), (), None, 0.0, 1.0)
    logarithmic = all(row.value > 0 for row in ordered)
    best, median = ordered[0].value, sorted(row.value for row in ordered)[len(ordered) // 2]
    reach = 10 * abs(median - best) + 1e-12
    near = [row for row in ordered if abs(row.value - best) <= reach]
    ends = [row.value + side * _spread(row) for row in near for side in (-1, 1)]
    low, high = min(ends), max(ends)
    if logarithmic:
        low = max(low, min(row.value for row in near) / 2)

    def place(value: float) -> float:
        if high <= low:
            return WIDTH / 2
        clipped = min(max(value, low), high)
        share = (
            log10(clipped / low) / log10(high / low)
            if logarithmic
            else (clipped - low) / (high - low)
        )
        return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)

    marks = tuple(
        Mark(place(row.value), place(row.value - _spread(row)), place(row.value + _spread(row)))
        for row in ordered
    )
    reference = next(
        (mark.x for row, mark in zip(ordered, marks, strict=True) if row.label == "adamw"), None
    )
    metrics = tuple(
        name
        for name in SHOWN
        if name != ordered[0].metric and any(name in row.metrics for row in ordered)
    )
    return Board(ordered, marks, metrics, reference, low, high)


def _spread(row: Row) -> float:
    return row.spread.get(row.metric, 0.0)
