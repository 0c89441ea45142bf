"""The rows of one rule: one expression over a slice of a population's flat tensors."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dsl.candidate import Candidate, ScheduleSpec
from dsl.compile import compile_rule
from dsl.scalars import fitting
from optimizers.schedules import multipliers
from workers.draws import Draws, Place
from workers.layout import Layout

AHEAD = 256
"""Steps whose columns are cut out of their table at a time: a view takes more than its numbers."""


class Column:
    """A number per step and row, as a column that broadcasts over a row's weights."""

    def __init__(self, table: Tensor) -> None:
        """Take `table` [steps, rows], or [1, rows] for what does not change in time."""
        self._table = table
        self._begin, self._views = 0, self._from(0)

    def _from(self, begin: int) -> tuple[Tensor, ...]:
        return self._table[begin : begin + AHEAD].unsqueeze(2).unbind(0)

    def at(self, step: int) -> Tensor:
        """Return the column [rows, 1] of a step."""
        if len(self._table) == 1:
            return self._views[0]
        begin = step - step % AHEAD
        if begin != self._begin:
            self._begin, self._views = begin, self._from(begin)
        return self._views[step - begin]

    def keep(self, rows: Tensor) -> "Column":
        """Return the column of the rows with these indices."""
        return Column(self._table[:, rows])


@lru_cache(maxsize=64)
def _schedule(text: str, steps: int) -> tuple[float, ...]:
    return tuple(multipliers(ScheduleSpec.model_validate_json(text), steps))


def _multipliers(candidates: Sequence[Candidate], steps: int) -> Tensor:
    """Return η_t, [steps, rows] float64, or [1, rows] where every schedule is constant."""
    names = [each.schedule.model_dump_json() for each in candidates]
    distinct = list(dict.fromkeys(names))
    table = [torch.tensor(_schedule(name, steps), dtype=torch.float64) for name in distinct]
    if all(bool((values == values[0]).all()) for values in table):
        table = [values[:1] for values in table]
    return torch.stack(table, 1)[:, [distinct.index(name) for name in names]]


def hyperparameters(
    candidates: Sequence[Candidate], device: torch.device
) -> dict[str, float | Tensor]:
    """Return the rule's hyperparameters by name: a float where all rows agree, else [rows, 1].

    Raises:
        ValueError: a candidate names a hyperparameter that its rule does not have.
    """
    defaults = compile_rule(candidates[0].rule).hyperparameters
    for each in candidates:
        for name in each.hyperparameters:
            if name not in defaults:
                allowed = ", ".join(defaults) or "none"
                raise ValueError(f"the rule has no hyperparameter {name!r}; it has: {allowed}")
    result: dict[str, float | Tensor] = {}
    for name, default in defaults.items():
        values = [float(each.hyperparameters.get(name, default)) for each in candidates]
        column = torch.tensor(values, dtype=torch.float64, device=device).unsqueeze(1)
        result[name] = values[0] if len(set(values)) == 1 else column
    return result


def check_decay(candidate: Candidate) -> None:
    """Refuse a weight decay that no rule can have; under decay 'none' its strength is not used.

    Raises:
        ValueError: decay 'own', or a strength below 0.
    """
    if candidate.decay == "own":
        raise ValueError(
            "decay is 'own', which only optimizers of other libraries have; a rule's is 'none', "
            "'l2', 'decoupled' or 'paper'"
        )
    if candidate.weight_decay < 0:
        raise ValueError(f"weight_decay is {candidate.weight_decay:g}, but it must be 0 or more")


def _kept(value: Any, rows: Tensor) -> Any:
    return value[rows] if isinstance(value, Tensor) and value.ndim == 2 else value


class RuleRows:
    """Consecutive rows of one rule and one kind of decay.

    Attributes:
        count: rows.
        slots: numbers of optimizer state per weight.
    """

    def __init__(
        self, candidates: Sequence[Candidate], steps: int, layout: Layout, draws: Draws, start: int
    ) -> None:
        """Prepare a run of `steps` steps for rows from `start` on among those of `draws`."""
        first, like = candidates[0], draws.like
        self._device, self._dtype = like.device, like.dtype
        compiled = compile_rule(first.rule)
        self.count, self.slots = len(candidates), len(compiled.slots)
        self._compiled, self._steps, self._decay = compiled, steps, first.decay
        self._hyperparameters = hyperparameters(candidates, like.device)
        self._memory: dict[Any, Any] = {}
        self._state = [
            torch.full((self.count, layout.width), slot.initial, device=like.device).to(like.dtype)
            for slot in compiled.slots
        ]
        self._seeds = draws.of_row[start : start + self.count]
        self._update = compiled.bind(
            norm=layout.norm,
            mean=layout.mean,
            rms=layout.rms,
            uniform=draws.uniform,
            normal=draws.normal,
        )
        self._columns(candidates)

    def _columns(self, candidates: Sequence[Candidate]) -> None:
        eta = _multipliers(candidates, self._steps)
        rates = torch.tensor([each.lr for each in candidates], dtype=torch.float64)
        penalties = torch.tensor([each.weight_decay for each in candidates], dtype=torch.float64)
        table = {"lr": rates * eta}
        if self._decay == "l2":
            table["penalty"] = penalties.unsqueeze(0)
        elif self._decay != "none":
            table["shrink"] = 1 - (rates if self._decay == "decoupled" else 1.0) * penalties * eta
        self._column = {
            name: Column(values.to(self._device, self._dtype)) for name, values in table.items()
        }
        # a rule that reads eta gets the schedule's multiplier at each step
        if "eta" in self._hyperparameters:
            self._column["eta"] = Column(eta.to(self._device))

    def place(self, weights: Tensor, gradients: Tensor) -> None:
        """Take the rows' slices [count, width] of the population's tensors."""
        self._weights, self._gradients = weights, gradients

    def step(self, step: int) -> None:
        """Move the weights by step `step` (from 0)."""
        weights, gradients, column = self._weights, self._gradients, self._column
        if "penalty" in column:
            gradients = gradients + column["penalty"].at(step) * weights
        values = self._hyperparameters
        if "eta" in column:
            values = {**values, "eta": values["eta"] * column["eta"].at(step)}
        scalars = self._compiled.scalars(step, self._steps, values, self._memory)
        scalars = fitting(scalars, self._dtype)
        place = Place(self._seeds, step)
        update = self._update(gradients, weights, self._state, scalars, place)
        # product and difference apart, as in RuleOptimizer: the same bits for the same gradient
        change = column["lr"].at(step) * update
        if "shrink" in column:
            weights.mul_(column["shrink"].at(step))
        weights.sub_(change)

    def keep(self, rows: Tensor) -> None:
        """Keep only the rows with these indices (within this rule's rows); `place` comes next."""
        self.count = len(rows)
        self._state = [value[rows] for value in self._state]
        self._seeds = self._seeds[rows]
        self._memory = {name: _kept(value, rows) for name, value in self._memory.items()}
        self._hyperparameters = {
            name: _kept(value, rows) for name, value in self._hyperparameters.items()
        }
        self._column = {name: column.keep(rows) for name, column in self._column.items()}
