"""A rule stepped without being compiled, which is cheaper where few steps are taken.

To print a rule's lines and have Python read them takes as long as some twenty steps on small
tensors; most rules that a search samples are given up after two.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dsl.columns import Columns
from dsl.operators import OPERATORS, Kind, Operator
from dsl.program import Shape
from dsl.scalars import fitting

__all__ = ["Interpreter"]

_MADE_TENSORS = {"min": (0, 1), "max": (0, 1), "where": (0, 1, 2), "clip": (0,), "drop": (0,)}
"""Arguments that torch's functions want as tensors, where a rule gives numbers."""


_Line = tuple[int, Callable[..., Any], tuple[int, ...], dict[str, Any], list[float] | None]
"""One operation of a step: the value it makes, its function, its arguments, its slot or the number
of its draw, and for every step 1 - beta, or an average's weight, where it takes that."""


class Interpreter:
    """A rule's update, step after step from the first one, on tensors of one shape."""

    def __init__(self, columns: Columns, like: Tensor) -> None:
        """Prepare the steps that `columns` has scalars for, on weights shaped like `like`."""
        self._program, self._functions = columns.program, columns.functions
        self._columns, self._like = columns, like
        self._held: list[Any] = [None] * len(self._program.graph.values)
        self._changing: dict[int, list[float]] = {}
        self._lines: list[_Line] = []
        self._late: list[tuple[Tensor, int]] = []
        self._step = 0
        self._prepare()

    def step(self, g: Tensor, w: Tensor) -> Tensor:
        """Return the next step's update; do not write to it, and use it before the next step.

        Args:
            g: The gradients.
            w: The weights.
        """
        held, at = self._held, self._step
        for name, index in self._names:
            held[index] = g if name == "g" else w
        for index, values in self._changing.items():
            held[index] = values[at]
        for target, function, arguments, given, complements in self._lines:
            if complements is not None:
                given["complement"] = complements[at]
            found = function(*[held[a] for a in arguments], **given)
            held[target] = given.get("slot", found)
        self._step += 1
        update: Tensor = held[self._program.update].expand(self._like.shape)
        if self._late:
            update = update.clone()
            # what was made of a slot before the slot itself
            for slot, index in reversed(self._late):
                slot.copy_(update if index == self._program.update else held[index])
        return update

    def _prepare(self) -> None:
        graph, draws = self._program.graph, 0
        self._names: list[tuple[str, int]] = []
        for index in self._program.order:
            value = graph.values[index]
            if graph.shapes[index] is Shape.SCALAR:
                continue
            if value.operator == "name":
                if value.name == "u":
                    self._held[index] = torch.zeros_like(self._like)
                    self._late.append((self._held[index], self._program.update))
                else:
                    self._names.append((value.name, index))
                continue
            row = OPERATORS[value.operator]
            for argument in value.arguments:
                if graph.shapes[argument] is Shape.SCALAR:
                    self._give(argument)
            self._line(index, row, value.arguments, draws)
            draws += row.kind is Kind.RANDOM

    def _give(self, index: int) -> None:
        """Have a scalar at hand, as tensors of the weights' type take it."""
        if self._held[index] is not None or index in self._changing:
            return
        value = self._columns.at(index)
        if isinstance(value, Tensor):
            steps = fitting(self._columns.steps(index), self._like.dtype)
            self._changing[index] = list(steps)
        else:
            (self._held[index],) = fitting((value,), self._like.dtype)

    def _line(self, index: int, row: Operator, arguments: tuple[int, ...], draw: int) -> None:
        if row.kind is Kind.DEBIAS:
            weights = self._columns.weights(arguments[0])[1]
            self._lines.append((index, _divided, arguments[:1], {}, weights))
            return
        function = self._functions.of(row.name, "tensor")
        if row.kind is Kind.STATE:
            slot = torch.full_like(self._like, row.initial)
            if row.late:
                self._held[index] = slot
                self._late.append((slot, arguments[0]))
                return
            complements = None
            if "{complement}" in row.tensor:
                complements = [1.0 - beta for beta in self._columns.steps(arguments[1])]
            self._lines.append((index, function, arguments, {"slot": slot}, complements))
            return
        if row.name == "pow" and self._program.is_positive(arguments[0]):
            given = {"logarithm": self._columns.logarithm(arguments[0])}
            self._lines.append((index, _power, arguments[1:], given, None))
            return
        shapes = self._program.graph.shapes
        wanted = _MADE_TENSORS.get(row.name, ())
        if any(shapes[arguments[place]] is Shape.SCALAR for place in wanted):
            function = _on_tensors(function, wanted, self._like.dtype)
        given = {"index": draw} if row.kind is Kind.RANDOM else {}
        self._lines.append((index, function, arguments, given, None))


def _divided(average: Tensor, complement: float) -> Tensor:
    return average / complement


def _power(x: Tensor, logarithm: float) -> Tensor:
    return torch.exp(logarithm * x)


@cache
def _on_tensors(
    function: Callable[..., Any], places: tuple[int, ...], dtype: torch.dtype
) -> Callable[..., Any]:
    """Return a function that makes tensors of the numbers in these places."""

    def made(*arguments: Any, **given: Any) -> Any:
        found = [
            torch.tensor(a, dtype=dtype) if i in places and not isinstance(a, torch.Tensor) else a
            for i, a in enumerate(arguments)
        ]
        return function(*found, **given)

    return made
