"""Optimizers by unseen tasks: one table of what counts, where boards task by task run long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from search.comparison import YARDSTICK
from service.paired import counted
from service.web.standings import Row

Optimizer = tuple[str, str | None, float]
"""A rule's id, its label, its weight decay."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What an optimizer came to on a task."""

    row: Row
    value: float | None
    """None where it came to nothing."""

    rank: int
    """Place on this task."""

    ahead: bool
    """Whether it did better than the yardstick, by the mean over seeds."""


@dataclass(frozen=True, slots=True)
class Line:
    """An optimizer and its cells, in the order of tasks."""

    row: Row
    cells: tuple[Cell | None, ...]
    rank: float
    """Mean over the tasks it met."""

    ahead: int | None
    """On how many tasks it did better than the yardstick; None for the yardstick itself."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Optimizers, by mean rank, and the tasks that they met."""

    tasks: tuple[str, ...]
    metric: str
    lines: tuple[Line, ...]


def crossing(
    rows: Mapping[str, Sequence[Row]], direction: Literal["minimize", "maximize"]
) -> Crossing | None:
    """Lay out what was met on each task; None for fewer than two tasks."""
    if len(rows) < 2:
        return None
    own = [row for task in rows.values() for row in task]
    metric = counted(own[0].metric, (row.metrics for row in own if row.value is not None))
    cells: dict[Optimizer, dict[str, Cell]] = {}
    for task, entrants in rows.items():
        for cell in _cells(entrants, metric, 1.0 if direction == "minimize" else -1.0):
            row = cell.row
            cells.setdefault((row.rule_id, row.label, row.weight_decay), {})[task] = cell
    lines = [_line(tuple(by_task.get(task) for task in rows)) for by_task in cells.values()]
    return Crossing(tuple(rows), metric, tuple(sorted(lines, key=lambda line: line.rank)))


def _cells(rows: Sequence[Row], metric: str, sign: float) -> list[Cell]:
    """Rank those that met one task; who came to nothing is behind all others."""
    values = [row.metrics.get(metric, row.value) if row.value is not None else None for row in rows]
    costs = [float("inf") if value is None else sign * value for value in values]
    mark = next((c for row, c in zip(rows, costs, strict=True) if row.label == YARDSTICK), None)
    return [
        Cell(row, value, 1 + sum(other < cost for other in costs), mark is not None and cost < mark)
        for row, value, cost in zip(rows, values, costs, strict=True)
    ]


def _line(cells: tuple[Cell | None, ...]) -> Line:
    met = [cell for cell in cells if cell is not None]
    row = met[0].row
    ahead = None if row.label == YARDSTICK else sum(cell.ahead for cell in met)
    return Line(row, cells, fmean(cell.rank for cell in met), ahead)
