"""The probe: every step of a rule along fixed gradients, weights and random numbers at once.

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
from dsl.program import Program, Shape, Value
from dsl.randomness import Draw, normal, uniform
from dsl.scalars import FLOAT, TENSOR

__all__ = ["SEED", "TIMES", "TOTAL", "Trajectory", "numbers", "probe", "trajectory"]

TIMES = (0, 1, 2, 3, 4, 7, 20, 90, 400, 2000, 9000, 20000)
"""The steps t that the probe visits: a rule that waits for step 1,000 shows it."""

TOTAL = 10007.3
"""The total of steps T: the last time lies beyond it, and no whole frequency divides it."""

SEED = 1709

_COLUMNS = (40, 10, 24, 32, 1)
"""How many coordinates have which gradients, see `probe`."""

_ELSEWHERE = 1_000_000
"""Numbers from this one on are free for other purposes."""

_KEPT = 512
"""State trajectories remembered: nearly all rules average g, its square or its cube."""

REACH = 100.0
"""Gradients are hardly larger, so the probe does not tell clip(g, 200) from g. Larger ones would
make exp overflow on the way to what can be finite: exp(g) * exp(-g)."""

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
        return Trajectory(_stepped(text), run.unseen())
    updates = values[program.update].expand(probe()[0].shape)
    return Trajectory(updates, run.unseen())


@cache
def probe() -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients and weights, [steps, coordinates] each, float64.

    Gradients of all orders of magnitude from 1e-48, whose eighth root a clip of the search
    language still tells from its sign, to 100, with signs that persist and signs that flip; one of
    them is 0 at every second step. Some of another order at every step, so that averages and
    gradients differ. Many between 0.01 and 100, of either sign, where exponentials and logarithms
    turn; some that stay near 1 or -1, where logarithms change their sign. One that is always 0, as
    under a dead unit. Weights of all orders from 1e-7 to 100, and some far larger.
    """
    like = torch.empty(len(TIMES), sum(_COLUMNS), dtype=torch.float64)
    steady, _, common, constant, _ = _COLUMNS
    signs = torch.ones(sum(_COLUMNS), dtype=torch.float64)
    signs[1::2] = -1.0
    drift = 1.5 * torch.cos(torch.arange(sum(_COLUMNS), dtype=torch.float64))
    drift = torch.where(drift.abs() < 0.5, signs, drift)
    parts = torch.split(normal(Draw(SEED, 0), 0, like) + drift, list(_COLUMNS), dim=1)
    orders = torch.linspace(-48.0, 2.0, steady, dtype=torch.float64)
    middle = torch.linspace(-2.0, 2.0, common, dtype=torch.float64)
    near = 1.0 + signs[:constant] * 10.0 ** -torch.arange(1, constant + 1).double().div(4).ceil()
    gradients = torch.cat(
        [
            parts[0] * 10.0**orders,
            parts[1] * _spread(Draw(SEED, 2), 0, parts[1], 20.0),
            parts[2] * 10.0**middle,
            near.expand(len(TIMES), constant) * signs.repeat_interleave(2)[:constant],
            torch.zeros_like(parts[4]),
        ],
        dim=1,
    )
    gradients[::2, steady - 3] = 0.0
    weights = normal(Draw(SEED, 1), 0, like) + 0.5
    weights *= 100.0 * _spread(Draw(SEED, 3), 0, like[:1], 9.0)
    weights[:, 5::8] *= 1e6
    return gradients, weights


def _spread(draw: Draw, index: int, like: torch.Tensor, decades: float) -> torch.Tensor:
    """Return numbers evenly spread over so many orders of magnitude below 1."""
    return 10.0 ** (-decades * uniform(draw, index, like))


def _normal(draw: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
    """Return what stands for normal numbers: small ones and large ones are not as rare."""
    small = Draw(draw.seed, draw.t, draw.first + _ELSEWHERE)
    return 4.0 * normal(draw, index, like) * _spread(small, index, like, 12.6)


@cache
def numbers(draw: str, index: int) -> torch.Tensor:
    """Return the numbers of one draw of a rule at every step."""
    gradients, _ = probe()
    function = {"uniform": uniform, "normal": _normal}[draw]
    rows = [function(Draw(SEED, t), index, g) for t, g in zip(TIMES, gradients, strict=True)]
    return torch.stack(rows)


def _stepped(text: str) -> torch.Tensor:
    """Step the compiled rule, one step after the other."""
    rule = compile_rule(text)
    update = rule.bind(normal=_normal)
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
        if self.program.mentions("u"):
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
        if row.kind is Kind.POINTWISE and not row.symbol:  # where, clip and min want tensors
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
