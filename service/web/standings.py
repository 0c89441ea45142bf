"""Rows of a leaderboard, and the place of their dots and whiskers on a common scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Literal

from dsl.candidate import Decay, Stage
from dsl.schema import Precision
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY
from service.resources import Evidence, Standing, Trial
from service.web.digest import OPEN

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
    value: float | None
    """None where it came to nothing, for `reason`."""

    lr: float | None
    metrics: dict[str, float]
    spread: dict[str, float]
    seeds: int
    steps: int
    slots: int
    decay: Decay = "none"
    weight_decay: float = 0.0
    schedule: str = "constant"
    batch_size: int = 64
    precision: Precision = "float32"
    cost_steps: int = 0
    cost_seconds: float = 0.0
    replay: str | None = None
    evidence: Evidence | None = None
    reason: str | None = None

    @property
    def compared(self) -> bool:
        """Whether fresh seeds and the test split stand behind it."""
        return self.stage is not Stage.SEARCH

    @property
    def known(self) -> bool:
        """Whether it is an optimizer of the catalogue or of a library, so a baseline."""
        return self.label in CATALOGUE or self.label in LIBRARY


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
    marks: tuple[Mark | None, ...]
    """None for rows without a value."""

    metrics: tuple[str, ...]
    reference: float | None
    """Where the named baseline `adamw` stands on the scale, if it is a row."""

    low: float
    high: float
    """The values at the ends of the scale."""


def from_standing(standing: Standing) -> Row:
    """Return the row of a standing."""
    names = Row.__dataclass_fields__.keys() - {"reason"}
    # A search's figure that a comparison did not bear out must not stand without that word.
    failed = standing.failed_comparison
    reason = None if failed is None else f"came to nothing in a comparison: {failed}"
    return Row(**{name: getattr(standing, name) for name in names}, reason=reason)


def from_trial(trial: Trial, metric: str) -> Row | None:
    """Return the row of a trial, or None while it may still get a value."""
    if trial.state in OPEN:
        return None
    return Row(
        trial.rule_id,
        trial.rule,
        trial.label,
        trial.task,
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
        trial.decay,
        trial.weight_decay,
        trial.schedule,
        trial.batch_size,
        trial.precision,
        trial.cost_steps,
        trial.cost_seconds,
        trial.replay,
        reason=trial.reason or (None if trial.value is not None else trial.state.lower()),
    )


def ranked(rows: Sequence[Row], direction: Literal["minimize", "maximize"]) -> list[Row]:
    """Return rows from best to worst, and then those without a value."""
    sign = 1.0 if direction == "minimize" else -1.0

    def place(row: Row) -> tuple[bool, float, int]:
        return row.value is None, 0.0 if row.value is None else sign * row.value, row.number

    return sorted(rows, key=place)


def board(rows: Sequence[Row]) -> Board:
    """Lay rows out in the order given.

    The scale is logarithmic where all values are positive, and leaves out rows beyond ten times
    the median's distance from the first: one diverged baseline must not squeeze the others.
    """
    ordered = tuple(rows)
    values = [row.value for row in ordered if row.value is not None]
    if not values:
        return Board(ordered, (None,) * len(ordered), (), None, 0.0, 1.0)
    logarithmic = all(value > 0 for value in values)
    best, median = values[0], sorted(values)[len(values) // 2]
    reach = 10 * abs(median - best) + 1e-12
    near = [
        (row.value, _spread(row))
        for row in ordered
        if row.value is not None and abs(row.value - best) <= reach
    ]
    ends = [value + side * spread for value, spread in near for side in (-1, 1)]
    low, high = min(ends), max(ends)
    if logarithmic:
        low = max(low, min(value for value, _ in near) / 2)

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

    def mark(row: Row) -> Mark | None:
        if row.value is None:
            return None
        spread = _spread(row)
        return Mark(place(row.value), place(row.value - spread), place(row.value + spread))

    marks = tuple(map(mark, ordered))
    pairs = zip(ordered, marks, strict=True)
    reference = next((m.x for row, m in pairs if row.label == "adamw" and m is not None), None)
    metrics = tuple(
        name
        for name in SHOWN
        if name != ordered[0].metric and any(name in row.metrics for row in ordered)
    )
    return Board(ordered, marks, metrics, reference, low, high)


def _spread(row: Row) -> float:
    return row.spread.get(row.metric, 0.0)
