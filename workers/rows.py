"""The rows of one rule: one expression over a slice of a population's flat tensors."""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import chain
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

    def __init__(self, table: Tensor, shape: Sequence[int] = (-1,)) -> None:
        """Take `table` [steps, rows], or [1, rows] for what does not change in time.

        A step's column has one more dimension than `shape`, that of the rows.
        """
        self._table, self._shape = table, tuple(shape)
        self._begin, self._views = 0, self._from(0)

    def _from(self, begin: int) -> tuple[Tensor, ...]:
        table = self._table[begin : begin + AHEAD]
        return table.reshape(len(table), *self._shape, 1).unbind(0)

    def at(self, step: int) -> Tensor:
        """Return the column [*shape, 1] of a step."""
        if len(self._table) == 1:
            return self._views[0]
        begin = step - step % AHEAD
        if begin != self._begin:
            self._begin, self._views = begin, self._from(begin)
        return self._views[step - begin]

    def keep(self, rows: Tensor, shape: Sequence[int] = (-1,)) -> "Column":
        """Return the column of the rows with these indices."""
        return Column(self._table[:, rows], shape)


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


def numbers(candidate: Candidate, defaults: Mapping[str, float]) -> dict[str, float]:
    """Return a value for each of a rule's hyperparameters.

    Raises:
        ValueError: the candidate names a hyperparameter that its rule does not have.
    """
    for name in candidate.hyperparameters:
        if name not in defaults:
            allowed = ", ".join(defaults) or "none"
            raise ValueError(f"the rule has no hyperparameter {name!r}; it has: {allowed}")
    given = candidate.hyperparameters
    return {name: float(given.get(name, default)) for name, default in defaults.items()}


def hyperparameters(
    candidates: Sequence[Candidate], device: torch.device
) -> dict[str, float | Tensor]:
    """Return the rule's hyperparameters by name: a float where all rows agree, else [rows, 1].

    Raises:
        ValueError: a candidate names a hyperparameter that its rule does not have.
    """
    defaults = compile_rule(candidates[0].rule).hyperparameters
    own = [numbers(each, defaults) for each in candidates]
    result: dict[str, float | Tensor] = {}
    for name in defaults:
        values = [each[name] for each in own]
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
    """Rows of one rule and one kind of decay, stepped at once.

    They lie in one span of a stack's rows, or in two of the same length, of one seed each; their
    tensors are then [2, rows of each, width].

    Attributes:
        spans: which rows of the stack they are.
        slots: numbers of optimizer state per weight.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        spans: Sequence[range],
        steps: int,
        layout: Layout,
        draws: Draws,
    ) -> None:
        """Prepare a run of `steps` steps for some rows of a stack.

        Args:
            candidates: those of all the stack's rows.
            spans: which rows these are.
            steps: how many there will be.
            layout: of the rows.
            draws: of the stack.
        """
        rows, like = list(chain.from_iterable(spans)), draws.like
        own = [candidates[row] for row in rows]
        self._device, self._dtype = like.device, like.dtype
        compiled = compile_rule(own[0].rule)
        self.spans, self.slots = list(spans), len(compiled.slots)
        self._compiled, self._steps, self._decay = compiled, steps, own[0].decay
        self._hyperparameters = hyperparameters(own, like.device)
        self._memory: dict[Any, Any] = {}
        self._state = [
            torch.full((len(rows), layout.width), slot.initial, device=like.device).to(like.dtype)
            for slot in compiled.slots
        ]
        self._seeds = draws.of_row[rows]
        self._update = compiled.bind(
            norm=layout.norm,
            mean=layout.mean,
            rms=layout.rms,
            uniform=draws.uniform,
            normal=draws.normal,
        )
        self._columns(own)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of the rows."""
        count = len(self.spans[0])
        return (count,) if len(self.spans) == 1 else (len(self.spans), count)

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
            name: Column(values.to(self._device, self._dtype), self._shape)
            for name, values in table.items()
        }
        # a rule that reads eta gets the schedule's multiplier at each step
        self._eta = Column(eta.to(self._device)) if "eta" in self._hyperparameters else None

    def place(self, weights: Tensor, gradients: Tensor) -> None:
        """Take the rows' parts of the stack's tensors [rows, width]."""
        self._weights, self._gradients = (_parts(each, self.spans) for each in (weights, gradients))
        self._slots = [value.view(*self._shape, value.shape[1]) for value in self._state]
        seeds = self._seeds.view(self._shape)
        # rows of one seed share their draws
        self._drawn = seeds[..., :1] if bool((seeds == seeds[..., :1]).all()) else seeds

    def step(self, step: int) -> None:
        """Move the weights by step `step` (from 0)."""
        weights, gradients, column = self._weights, self._gradients, self._column
        if "penalty" in column:
            gradients = gradients + column["penalty"].at(step) * weights
        update = self._update(
            gradients, weights, self._slots, self._scalars(step), Place(self._drawn, step)
        )
        # product and difference apart, as in RuleOptimizer: the same bits for the same gradient
        change = column["lr"].at(step) * update
        if "shrink" in column:
            weights.mul_(column["shrink"].at(step))
        weights.sub_(change)

    def _scalars(self, step: int) -> tuple[Any, ...]:
        """Return the step's scalars: numbers, or columns over the rows."""
        values = self._hyperparameters
        if self._eta is not None:
            values = {**values, "eta": values["eta"] * self._eta.at(step)}
        scalars = self._compiled.scalars(step, self._steps, values, self._memory)
        fit = fitting(scalars, self._dtype)
        if len(self.spans) == 1:
            return fit
        return tuple(
            each.view(*self._shape, 1) if isinstance(each, Tensor) and each.ndim == 2 else each
            for each in fit
        )

    def keep(self, place: Mapping[int, int]) -> list["RuleRows"]:
        """Return the rows that are left, where spans are still alike together; `place` comes next.

        Args:
            place: where the rows that the stack keeps lie from now on.
        """
        kept = [[row for row in span if row in place] for span in self.spans]
        if all(len(left) == len(span) for left, span in zip(kept, self.spans, strict=True)):
            self.spans = [range(place[span[0]], place[span[0]] + len(span)) for span in kept]
            return [self]
        alike = len({len(left) for left in kept}) == 1
        parts = [kept] if alike else [[left] for left in kept]
        return [self._part(part, place) for part in parts if part[0]]

    def _part(self, kept: Sequence[Sequence[int]], place: Mapping[int, int]) -> "RuleRows":
        part = copy(self)
        own = {row: number for number, row in enumerate(chain.from_iterable(self.spans))}
        part.spans = [range(place[rows[0]], place[rows[0]] + len(rows)) for rows in kept]
        rows = torch.tensor([own[row] for each in kept for row in each], device=self._device)
        part._state = [value[rows] for value in self._state]
        part._seeds = self._seeds[rows]
        part._memory = {name: _kept(value, rows) for name, value in self._memory.items()}
        part._hyperparameters = {
            name: _kept(value, rows) for name, value in self._hyperparameters.items()
        }
        part._column = {
            name: column.keep(rows, part._shape) for name, column in self._column.items()
        }
        part._eta = self._eta.keep(rows) if self._eta is not None else None
        return part


def _parts(tensor: Tensor, spans: Sequence[range]) -> Tensor:
    """Return rows of a contiguous tensor [rows, width]: [rows, width], of two spans [2, ...]."""
    first = tensor[spans[0].start : spans[0].stop]
    if len(spans) == 1:
        return first
    (_, width), apart = tensor.shape, spans[1].start - spans[0].start
    shape, strides = (2, len(spans[0]), width), (apart * width, width, 1)
    return tensor.as_strided(shape, strides, first.storage_offset())
