"""A rule's trajectory: every step of it along the probe at once.

The same templates of the operator table that the compiler prints, applied to whole trajectories:
a pointwise operator is one call for all steps, and only state is walked through step by step. So
a rule is stepped without being compiled. Only the previous update needs the compiler.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

from dsl.compile import compile_rule
from dsl.operators import OPERATORS, Kind, Operator
from dsl.probe import REACH, SEED, TIMES, TOTAL, noise, numbers, probe
from dsl.program import Program, Shape, Value
from dsl.randomness import Draw
from dsl.scalars import FLOAT, TENSOR

__all__ = ["Trajectory", "stepped", "trajectory"]

_KEPT = 512
"""State trajectories remembered: nearly all rules average g, its square or its cube."""

_FACTORS = frozenset({"mul", "div", "neg"})
"""Operators of which the probe shows every number."""

_Column = float | torch.Tensor
"""A scalar at every step: a float where it is constant, else [steps, 1]."""


class Trajectory(NamedTuple):
    """What a rule did along the probe."""

    updates: torch.Tensor
    """[steps, coordinates], float64."""
    unseen: tuple[tuple[float, ...], ...]
    """Numbers whose change the probe is too short or too narrow to show: probabilities of drops
    (at every step, or once where constant), and what is as large as `REACH`."""


def trajectory(program: Program, text: str) -> Trajectory:
    """Step a rule, with its hyperparameters' defaults, along the probe.

    Args:
        program: The rule, resolved.
        text: What it was resolved from.
    """
    run = _Run(program)
    values = run.values()
    if values is None:
        return Trajectory(stepped(text), run.unseen())
    updates = values[program.update].expand(probe()[0].shape)
    return Trajectory(updates, run.unseen())


def stepped(text: str) -> torch.Tensor:
    """Return the updates [steps, coordinates] of the compiled rule, one step after the other."""
    rule = compile_rule(text)
    update = rule.bind(normal=noise)
    gradients, weights = probe()
    state = rule.initial_state(gradients[0])
    memory: dict[str, float] = {}
    updates = []
    for t, g, w in zip(TIMES, gradients, weights, strict=True):
        scalars = rule.scalars(t, TOTAL, rule.hyperparameters, memory)
        updates.append(update(g, w, state, scalars, Draw(SEED, t)).clone())
    return torch.stack(updates)


_NAMES: dict[str, Any] = {
    "torch": torch,
    "norm": lambda x: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "rms": lambda x: x.square().mean(-1, keepdim=True).sqrt(),
    "uniform": lambda draw, index, like: numbers("uniform", index),
    "normal": lambda draw, index, like: numbers("normal", index),
    "draw": None,
    "g": None,
}
"""What the names in tensor templates mean when all steps are taken at once."""

_now = torch.tensor(TIMES, dtype=torch.float64).unsqueeze(1)
_TIME = {"now": _now.clamp(max=TOTAL), "T": TOTAL}


@cache
def _function(operator: str, kind: str) -> Callable[..., Any]:
    """Return an operator's template as a function.

    Args:
        operator: A row of the operator table.
        kind: What its arguments are: "tensor", "float" (constant scalars) or "column".
    """
    row = OPERATORS[operator]
    template = row.tensor if kind == "tensor" else row.scalar
    names = [f"x{i}" for i in range(row.arity)]
    if operator == "neg":
        body = "-x0"
    elif row.symbol:
        body = f"x0 {template} x1"
    else:
        written = [f"({name})" for name in names]
        body = template.format(*written, slot="slot", complement="complement", index="index")
    meanings = {"tensor": _NAMES, "float": FLOAT, "column": {**TENSOR, **_TIME}}[kind]
    arguments = ", ".join([*names, "slot=None", "complement=None", "index=0"])
    # The table's own templates, never a rule's text.
    return eval(f"lambda {arguments}: {body}", dict(meanings))  # type: ignore[no-any-return]  # noqa: S307


def _numbered(row: Operator, arguments: list[_Column]) -> bool:
    """Tell whether an operator takes these arguments as they are.

    Others than those of symbols want tensors; clip wants no tensor for a bound that is a number,
    which is faster.
    """
    x = arguments[0]
    bounded = row.name == "clip" and isinstance(arguments[1], float)
    return bounded and isinstance(x, torch.Tensor) and x.dtype == torch.float64


_states: dict[str, torch.Tensor] = {}


class _Run:
    """One rule's values along the probe."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.graph
        self.scalars: dict[int, _Column] = {}
        self.tensors: dict[int, torch.Tensor] = {}
        self.order = program.order

    def values(self) -> dict[int, torch.Tensor] | None:
        """Return the tensors, or None if the update depends on the one before."""
        if any(self.graph.is_name(index, "u") for index in self.order):
            return None
        draws = 0
        for index in self.order:
            if self.graph.shapes[index] is Shape.SCALAR:
                continue
            value = self.graph.values[index]
            if value.operator == "name":
                self.tensors[index] = probe()[value.name == "w"]
                continue
            row = OPERATORS[value.operator]
            self.tensors[index] = self.tensor(index, row, value, draws)
            draws += row.kind is Kind.RANDOM
        return self.tensors

    def unseen(self) -> tuple[tuple[float, ...], ...]:
        """Return what `Trajectory.unseen` says, in a fixed order."""
        found: list[tuple[float, ...]] = []
        for index in self.order:
            value = self.graph.values[index]
            if value.operator == "drop":
                p = self.scalar(value.arguments[1])
                found.append(tuple(p.flatten().tolist()) if isinstance(p, torch.Tensor) else (p,))
            elif value.arguments and value.operator not in _FACTORS:
                scalars = [a for a in value.arguments if self.graph.shapes[a] is Shape.SCALAR]
                constants = [c for c in map(self.scalar, scalars) if isinstance(c, float)]
                found += [(abs(c),) for c in constants if abs(c) >= REACH]
        return tuple(sorted(found))

    def tensor(self, index: int, row: Operator, value: Value, draw: int) -> torch.Tensor:
        if row.kind is Kind.STATE:
            return self.state(index, row, value)
        if row.kind is Kind.DEBIAS:
            average = self.graph.values[value.arguments[0]]
            beta = self.scalar(average.arguments[1])
            powers = beta ** (_now + 1.0)
            if isinstance(beta, torch.Tensor):
                powers = beta.cumprod(0)
            return self.tensors[value.arguments[0]] / (1.0 - powers)
        arguments = [self.argument(a) for a in value.arguments]
        if row.kind is Kind.POINTWISE and not row.symbol and not _numbered(row, arguments):
            arguments = [torch.as_tensor(a, dtype=torch.float64) for a in arguments]
        found: torch.Tensor = _function(row.name, "tensor")(*arguments, index=draw)
        return found

    def argument(self, index: int) -> _Column:
        if self.graph.shapes[index] is Shape.SCALAR:
            return self.scalar(index)
        return self.tensors[index]

    def state(self, index: int, row: Operator, value: Value) -> torch.Tensor:
        """Walk a slot through the steps."""
        said = self.said(index, 3)
        if said is not None and said in _states:
            return _states[said]
        inputs = self.tensors[value.arguments[0]].expand(probe()[0].shape)
        slot = torch.full_like(inputs[0], row.initial)
        if row.late:
            return torch.cat([slot.unsqueeze(0), inputs[:-1]])
        move = _function(row.name, "tensor")
        scalars = [self.steps(a) for a in value.arguments[1:]]
        rows = []
        for step, x in enumerate(inputs.unbind()):
            numbers = [numbers[step] for numbers in scalars]
            complement = 1.0 - numbers[0] if numbers else 0.0
            move(x, *numbers, slot=slot, complement=complement)
            rows.append(slot.clone())
        found = torch.stack(rows)
        if said is not None:
            if len(_states) >= _KEPT:
                _states.clear()
            _states[said] = found
        return found

    def said(self, index: int, depth: int) -> str | None:
        """Return what a small value is, None for larger ones."""
        value = self.graph.values[index]
        if value.operator == "number":
            return repr(value.literal)
        if value.operator == "name":
            if value.name in ("g", "w"):
                return value.name
            return repr(self.scalar(index)) if value.name not in ("t", "T") else None
        inner = [self.said(a, depth - 1) for a in value.arguments] if depth else [None]
        if None in inner or OPERATORS[value.operator].kind is Kind.RANDOM:
            return None
        return f"{value.operator}({inner})"

    def steps(self, index: int) -> list[float]:
        """Return a scalar at each step."""
        value = self.scalar(index)
        if isinstance(value, torch.Tensor):
            found: list[float] = value.expand(len(TIMES), 1).flatten().tolist()
            return found
        return [value] * len(TIMES)

    def scalar(self, index: int) -> _Column:
        if index not in self.scalars:
            self.scalars[index] = self._scalar(self.graph.values[index])
        return self.scalars[index]

    def _scalar(self, value: Value) -> _Column:
        if value.operator == "number":
            return value.literal
        if value.operator == "name":
            if value.name == "t":
                return _now.clamp(max=TOTAL)
            return TOTAL if value.name == "T" else self.program.hyperparameters[value.name]
        arguments = [self.scalar(a) for a in value.arguments]
        if value.operator == "product":
            factor = torch.as_tensor(arguments[0], dtype=torch.float64)
            return factor.expand(len(TIMES), 1).cumprod(0)
        timed = OPERATORS[value.operator].kind is Kind.TIME
        if not timed and not any(isinstance(a, torch.Tensor) for a in arguments):
            try:
                found = _function(value.operator, "float")(*arguments)
                if not isinstance(found, complex):
                    return float(found)
            except (ArithmeticError, ValueError, TypeError):  # a TypeError is complex's
                pass
        wide = [torch.as_tensor(a, dtype=torch.float64) for a in arguments]
        column: torch.Tensor = _function(value.operator, "column")(*wide)
        return column if column.ndim else float(column)
