"""A rule's trajectory: every step of it along given gradients and weights at once.

The same templates of the operator table that the compiler prints, applied to whole trajectories:
a pointwise operator is one call for all steps, and only state is walked through step by step. So
a rule is stepped without being compiled. Only the previous update needs the compiler.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple

import torch

from dsl.columns import Column, Columns, moments
from dsl.compile import compile_rule
from dsl.functions import Functions
from dsl.operators import OPERATORS, Kind, Operator
from dsl.probe import REACH, SEED, TIMES, TOTAL, numbers, probe
from dsl.program import Program, Shape, Value
from dsl.randomness import Draw
from dsl.validate import program_of

__all__ = ["Trajectory", "Way", "along_probe", "stepped", "trajectory"]

_KEPT = 512
"""State trajectories that a way remembers."""

_FACTORS = frozenset({"mul", "div", "neg"})
"""Operators of which the probe shows every number."""


@dataclass(frozen=True, eq=False)
class Way:
    """What a rule is stepped along."""

    gradients: torch.Tensor
    """[steps, coordinates], float64, as are the weights."""

    weights: torch.Tensor
    times: tuple[int, ...]
    """t at every step."""

    total: float
    """T."""

    numbers: Callable[[str, int], torch.Tensor]
    """The random numbers [steps, coordinates] of a rule's draw, by "uniform" or "normal"."""

    nested: bool = False
    """Whether draws are numbered by how many others they go through, so that one that does not
    count changes no other; else in the rule's order."""

    states: dict[str, torch.Tensor] = field(default_factory=dict)
    """What small states came to: nearly all rules average g, its square or its cube."""

    @cached_property
    def now(self) -> torch.Tensor:
        """Return t at every step, [steps, 1] float64."""
        return moments(self.times)

    @cached_property
    def functions(self) -> Functions:
        """Return operators that take all steps at once."""
        tensor = {
            "norm": lambda x: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
            "mean": lambda x: x.mean(-1, keepdim=True),
            "rms": lambda x: x.square().mean(-1, keepdim=True).sqrt(),
            "uniform": lambda draw, index, like: self.numbers("uniform", index),
            "normal": lambda draw, index, like: self.numbers("normal", index),
            "draw": None,
            "g": None,
        }
        time = {"now": self.now.clamp(max=self.total), "T": self.total}
        return Functions(tensor, time)


@cache
def along_probe() -> Way:
    """Return the probe (`dsl.probe`)."""
    gradients, weights = probe()
    return Way(gradients, weights, TIMES, TOTAL, numbers)


class Trajectory(NamedTuple):
    """What a rule did along its way."""

    updates: torch.Tensor
    """[steps, coordinates], float64."""
    unseen: tuple[tuple[float, ...], ...]
    """Numbers whose change the probe is too short or too narrow to show: probabilities of drops
    (at every step, or once where constant), and what is as large as `REACH`."""


def trajectory(
    program: Program,
    text: str,
    way: Way | None = None,
    hyperparameters: Mapping[str, float] | None = None,
) -> Trajectory:
    """Step a rule along the probe, or another way.

    Args:
        program: The rule, resolved.
        text: What it was resolved from.
        way: What to step along; None for the probe.
        hyperparameters: Values for the rule's own; those not named have their defaults.
    """
    way = way or along_probe()
    values = program.hyperparameters | dict(hyperparameters or {})
    run = _Run(program, way, values)
    tensors = run.values()
    if tensors is None:
        return Trajectory(stepped(text, way, values), run.unseen())
    return Trajectory(tensors[program.update].expand(way.gradients.shape), run.unseen())


def stepped(
    text: str, way: Way | None = None, hyperparameters: Mapping[str, float] | None = None
) -> torch.Tensor:
    """Return the updates [steps, coordinates] of the compiled rule, one step after the other.

    See `trajectory` for the arguments.
    """
    way = way or along_probe()
    rule = compile_rule(text)
    levels = _levels(program_of(text)) if way.nested else None
    row = {t: step for step, t in enumerate(way.times)}

    def drawn(name: str) -> Callable[..., torch.Tensor]:
        def draw(at: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
            number = index if levels is None else levels[index]
            return way.numbers(name, number)[row[at.t]].expand(like.shape)

        return draw

    update = rule.bind(uniform=drawn("uniform"), normal=drawn("normal"))
    state = rule.initial_state(way.gradients[0])
    values = rule.hyperparameters | dict(hyperparameters or {})
    memory: dict[str, float] = {}
    updates = []
    for t, g, w in zip(way.times, way.gradients, way.weights, strict=True):
        scalars = rule.scalars(t, way.total, values, memory)
        updates.append(update(g, w, state, scalars, Draw(SEED, t)).expand(g.shape).clone())
    return torch.stack(updates)


def _levels(program: Program) -> list[int]:
    """Return for each of a rule's random draws how many others its argument goes through."""
    graph, below, levels = program.graph, dict[int, int](), list[int]()
    for index in program.order:
        value = graph.values[index]
        row = OPERATORS.get(value.operator)
        depth = max((below[argument] for argument in value.arguments), default=0)
        drawn = row is not None and row.kind is Kind.RANDOM
        levels += [depth] * drawn
        below[index] = depth + drawn
    return levels


def _numbered(row: Operator, arguments: list[Column]) -> bool:
    """Tell whether an operator takes these arguments as they are.

    Others than those of symbols want tensors; clip wants no tensor for a bound that is a number,
    which is faster.
    """
    x = arguments[0]
    bounded = row.name == "clip" and isinstance(arguments[1], float)
    return bounded and isinstance(x, torch.Tensor) and x.dtype == torch.float64


class _Run:
    """One rule's values along a way."""

    def __init__(self, program: Program, way: Way, hyperparameters: Mapping[str, float]) -> None:
        self.program, self.way = program, way
        self.graph = program.graph
        self.columns = Columns(program, hyperparameters, way.times, way.total, way.functions)
        self.tensors: dict[int, torch.Tensor] = {}
        self.order = program.order

    def values(self) -> dict[int, torch.Tensor] | None:
        """Return the tensors, or None if the update depends on the one before."""
        if any(self.graph.is_name(index, "u") for index in self.order):
            return None
        draws = 0
        levels = _levels(self.program) if self.way.nested else None
        for index in self.order:
            if self.graph.shapes[index] is Shape.SCALAR:
                continue
            value = self.graph.values[index]
            if value.operator == "name":
                self.tensors[index] = self.way.weights if value.name == "w" else self.way.gradients
                continue
            row = OPERATORS[value.operator]
            number = draws
            if row.kind is Kind.RANDOM:
                number = levels[draws] if levels else draws
                draws += 1
            self.tensors[index] = self.tensor(index, row, value, number)
        return self.tensors

    def unseen(self) -> tuple[tuple[float, ...], ...]:
        """Return what `Trajectory.unseen` says, in a fixed order."""
        found: list[tuple[float, ...]] = []
        for index in self.order:
            value = self.graph.values[index]
            if value.operator == "drop":
                p = self.columns.at(value.arguments[1])
                found.append(tuple(p.flatten().tolist()) if isinstance(p, torch.Tensor) else (p,))
            elif value.arguments and value.operator not in _FACTORS:
                scalars = [a for a in value.arguments if self.graph.shapes[a] is Shape.SCALAR]
                constants = [c for c in map(self.columns.at, scalars) if isinstance(c, float)]
                found += [(abs(c),) for c in constants if abs(c) >= REACH]
        return tuple(sorted(found))

    def tensor(self, index: int, row: Operator, value: Value, draw: int) -> torch.Tensor:
        if row.kind is Kind.STATE:
            return self.state(index, row, value)
        if row.kind is Kind.DEBIAS:
            average = value.arguments[0]
            return self.tensors[average] / self.columns.weights(average)[0]
        if row.name == "pow" and self.program.is_positive(value.arguments[0]):
            logarithm = self.columns.logarithm(value.arguments[0])
            return torch.exp(logarithm * self.tensors[value.arguments[1]])
        arguments = [self.argument(a) for a in value.arguments]
        if row.kind is Kind.POINTWISE and not row.symbol and not _numbered(row, arguments):
            arguments = [torch.as_tensor(a, dtype=torch.float64) for a in arguments]
        found: torch.Tensor = self.way.functions.of(row.name, "tensor")(*arguments, index=draw)
        return found

    def argument(self, index: int) -> Column:
        if self.graph.shapes[index] is Shape.SCALAR:
            return self.columns.at(index)
        return self.tensors[index]

    def state(self, index: int, row: Operator, value: Value) -> torch.Tensor:
        """Walk a slot through the steps."""
        said = self.said(index, 3)
        states = self.way.states
        if said is not None and said in states:
            return states[said]
        inputs = self.tensors[value.arguments[0]].expand(self.way.gradients.shape)
        slot = torch.full_like(inputs[0], row.initial)
        if row.late:
            return torch.cat([slot.unsqueeze(0), inputs[:-1]])
        move = self.way.functions.of(row.name, "tensor")
        scalars = [self.columns.steps(a) for a in value.arguments[1:]]
        rows = []
        for step, x in enumerate(inputs.unbind()):
            numbers = [numbers[step] for numbers in scalars]
            complement = 1.0 - numbers[0] if numbers else 0.0
            move(x, *numbers, slot=slot, complement=complement)
            rows.append(slot.clone())
        found = torch.stack(rows)
        if said is not None:
            if len(states) >= _KEPT:
                states.clear()
            states[said] = found
        return found

    def said(self, index: int, depth: int) -> str | None:
        """Return what a small value is, None for larger ones."""
        value = self.graph.values[index]
        if value.operator == "number":
            return repr(value.literal)
        if value.operator == "name":
            if value.name in ("g", "w"):
                return value.name
            return repr(self.columns.at(index)) if value.name not in ("t", "T") else None
        inner = [self.said(a, depth - 1) for a in value.arguments] if depth else [None]
        if None in inner or OPERATORS[value.operator].kind is Kind.RANDOM:
            return None
        return f"{value.operator}({inner})"
