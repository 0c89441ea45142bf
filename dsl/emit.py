"""From the value graph to lines of Python: the update's and its scalars'.

The same lines run in the trainer, in `optimizers.rule.RuleOptimizer` and in exported files. They
are printed from the graph through the operator table's templates, never from a rule's text.
"""

import builtins
import keyword
import math
import re
from collections import Counter
from dataclasses import dataclass, field

from dsl.dialect import TORCH, Dialect
from dsl.operators import OPERATORS, PRECEDENCE, Kind, Operator
from dsl.program import Program, Shape
from dsl.text import LARGEST, format_number

__all__ = ["CLAMP", "Lines", "Slot", "emit"]

CLAMP = "now = min(t, T)"
"""The scalar line that holds the time of decays at their end."""

_WIDTH = 64
"""A value used once is written where it is used, up to this many characters."""

_LINE = 84
"""A longer formula gets its arguments from lines of their own."""

_ATOM = 5

_EXPOSED = re.compile(r"(?<!\()(?<!, )\{(\d)\}|\{(\d)\}(?![,)])")
"""Finds a template's argument that is not between parentheses or commas."""

_TAKEN = frozenset(
    {"T", "_", "__class__", "abs", "advance", "change", "closure", "cos", "draw", "exp", "g"}
    | {"group", "hyper", "jax", "jnp", "kept", "log", "loss", "lr", "math", "max", "mean"}
    | {"memory", "min", "norm", "normal", "now", "number", "params", "penalty", "pi", "range"}
    | {"rms", "rows", "scalars", "seed", "self", "sign", "sqrt", "state", "step", "t", "torch"}
    | {"u", "uniform", "update", "values", "w", "where", "wide", *dir(builtins)}
)
"""Names that Python or generated code gives a meaning of its own; none may assign __debug__."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor of optimizer state, shaped like the weights."""

    name: str
    initial: float
    """What it is filled with before the first step."""


@dataclass
class Lines:
    """A rule as Python lines."""

    slots: list[Slot] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)
    """Names that the scalar lines give and the update lines use, besides numbers."""
    scalar_lines: list[str] = field(default_factory=list)
    """From t, T, the hyperparameters by name and `memory`; float64."""
    update_lines: list[str] = field(default_factory=list)
    """From g, w, the slots, the scalars and `draw`."""
    result: str = ""
    """The update, an expression to return after the update lines."""
    recurrent: bool = False
    """The scalars need `memory` (running products of betas that change with time)."""
    hyperparameters: dict[str, str] = field(default_factory=dict)
    """The variable that holds each: its name, unless Python or the lines use that otherwise."""

    def scalars_body(self) -> list[str]:
        """Return the lines of a function of `hyper`, and of t, T, `memory` where it uses them."""
        read = [f'{variable} = hyper["{name}"]' for name, variable in self.hyperparameters.items()]
        return [*read, *self.scalar_lines, f"return {_tuple(self.scalars)}"]

    def update_body(self) -> list[str]:
        """Return the lines of a function of g, w, state, scalars and draw."""
        slots = [slot.name for slot in self.slots]
        given = [(slots, "state"), (self.scalars, "scalars")]
        unpack = [f"{_tuple(names)} = {source}" for names, source in given if names]
        return [*unpack, *self.update_lines, f"return {self.result}"]


def emit(program: Program, dialect: Dialect = TORCH) -> Lines:
    """Write a checked rule as lines."""
    return _Emitter(program, dialect).run()


class _Emitter:
    def __init__(self, program: Program, dialect: Dialect) -> None:
        self.program = program
        self.dialect = dialect
        self.graph = program.graph
        self.lines = Lines()
        self.text: dict[int, tuple[str, int]] = {}
        """How a value is written where it is used, and how tightly that binds."""
        self.names: set[str] = set(_TAKEN)
        for name in program.hyperparameters:
            self.lines.hyperparameters[name] = self.unique(name)
        self.draws: dict[int, int] = {}
        self.complements: dict[int, str] = {}
        self.logarithms: dict[int, str] = {}
        self.late: list[tuple[str, int]] = []
        order = program.order
        self.uses = Counter(a for i in order for a in self.graph.values[i].arguments)

    def run(self) -> Lines:
        order = self.program.order
        full = [i for i in order if self.graph.shapes[i] is not Shape.SCALAR]
        for index in full:  # slots first, so that they get the author's names
            value = self.graph.values[index]
            if value.operator in OPERATORS and OPERATORS[value.operator].kind is Kind.STATE:
                name = self.unique(self.program.hints.get(index) or self.slot_name(index))
                self.lines.slots.append(Slot(name, OPERATORS[value.operator].initial))
                self.text[index] = (name, _ATOM)
        if any(self.graph.is_name(i, "u") for i in full):
            name = self.unique("previous")
            self.lines.slots.append(Slot(name, 0.0))
            self.text[next(i for i in full if self.graph.is_name(i, "u"))] = (name, _ATOM)
        if any(self.graph.is_name(i, "t") or self._is_time(i) for i in order):
            self.lines.scalar_lines.append(CLAMP)
        for index in full:
            self.tensor(index)
        self.finish()
        return self.lines

    def slot_name(self, index: int) -> str:
        """Name a slot that the author has not named: `ema_g`, say."""
        value = self.graph.values[index]
        argument = value.arguments[0]
        inner = self.graph.values[argument].name or self.program.hints.get(argument, "slot")
        return f"{value.operator}_{inner}"

    def finish(self) -> None:
        """Write the update, then the slots that the next step will read."""
        result, _ = self.text[self.program.update]
        if self.graph.values[self.program.update].operator == "prev":
            result = self.dialect.fresh.format(value=result)
        if self.graph.shapes[self.program.update] is Shape.REDUCED:
            result = self.dialect.spread.format(value=result)
        own = next((s.name for i, s in self._previous()), None)
        if self.late or own:
            self.lines.update_lines.append(f"update = {result}")
            result = "update"
        for name, argument in reversed(self.late):
            value = self.text[argument][0]
            self.lines.update_lines.append(self.dialect.copy.format(slot=name, value=value))
        if own:
            self.lines.update_lines.append(self.dialect.copy.format(slot=own, value="update"))
        self.lines.result = result

    def _previous(self) -> list[tuple[int, Slot]]:
        return [
            (index, slot)
            for index, (text, _) in self.text.items()
            for slot in self.lines.slots
            if self.graph.is_name(index, "u") and slot.name == text
        ]

    def _is_time(self, index: int) -> bool:
        operator = self.graph.values[index].operator
        return operator in OPERATORS and OPERATORS[operator].kind is Kind.TIME

    # Tensors

    def tensor(self, index: int) -> None:
        """Make a tensor value available: as a line, or as text to write where it is used."""
        value = self.graph.values[index]
        if value.operator == "name":
            self.text.setdefault(index, (value.name, _ATOM))
            return
        row = OPERATORS[value.operator]
        if row.kind is Kind.STATE:
            self.advance(index, row)
            return
        text, binding = self.formula(index, row)
        if len(text) > _LINE:
            for argument in value.arguments:
                self.set_apart(argument)
            text, binding = self.formula(index, row)
        if self.uses[index] > 1 or (len(text) > _WIDTH and index != self.program.update):
            self.text[index] = text, binding
            self.set_apart(index)
        else:
            self.text[index] = text, binding

    def set_apart(self, index: int) -> None:
        """Give a tensor value that is written out a line and a name of its own."""
        text, binding = self.text.get(index, ("", _ATOM))
        if binding < _ATOM or "(" in text:
            value = self.graph.values[index]
            name = self.unique(self.program.hints.get(index, value.operator))
            self.lines.update_lines.append(f"{name} = {text}")
            self.text[index] = name, _ATOM

    def advance(self, index: int, row: Operator) -> None:
        """Write the line that moves a slot on by one step."""
        slot, _ = self.text[index]
        arguments = self.graph.values[index].arguments
        if row.late:
            self.late.append((slot, arguments[0]))
            return
        complement, template = "", self.dialect.tensor(row)
        if "{complement}" in template:
            complement = self.complement(arguments[1])
        written = [self.operand(a) for a in arguments if "{complement}" not in template]
        written = written or [self.operand(arguments[0])]
        line = template.format(*(t for t, _ in written), slot=slot, complement=complement)
        self.lines.update_lines.append(line)

    def formula(self, index: int, row: Operator) -> tuple[str, int]:
        """Write a tensor value as an expression of its arguments."""
        value = self.graph.values[index]
        if row.kind is Kind.DEBIAS:
            average = value.arguments[0]
            return f"{self.text[average][0]} / {self.weight(average)}", PRECEDENCE["/"]
        arguments = value.arguments
        if row.name == "pow" and self.program.is_positive(arguments[0]):
            return self.exponential(*arguments)
        if (
            self.dialect.mixed
            and row.mixed
            and Shape.SCALAR in [self.graph.shapes[a] for a in arguments]
        ):
            first, second = arguments
            if self.graph.shapes[first] is Shape.SCALAR:
                first, second = second, first
            return row.mixed.format(self.operand(first)[0], self.operand(second)[0]), _ATOM
        written = [self.operand(a) for a in arguments]
        plain = self.dialect.mixed and self.graph.shapes[arguments[0]] is Shape.SCALAR
        if plain and row.name in ("clip", "drop"):  # numbers alone would be of torch's own dtype
            like = written[1][0] if row.name == "clip" else "g"
            written[0] = f"torch.zeros_like({like}) + {written[0][0]}", _ATOM
        if row.name == "where":
            return self.where(arguments, written), _ATOM
        extra = {}
        if row.kind is Kind.RANDOM:
            extra = {"index": self.draws.setdefault(index, len(self.draws))}
        return self.fill(row, self.dialect.tensor(row), written, extra)

    def exponential(self, base: int, exponent: int) -> tuple[str, int]:
        """Write a power of a scalar as exp, for which processors have fast code."""
        literal = self.graph.literal(base)
        written = self.operand(exponent)
        if literal is None:
            if base not in self.logarithms:
                name, _ = self.scalar(base)
                self.logarithms[base] = self.unique(f"log_{name}")
                self.lines.scalar_lines.append(f"{self.logarithms[base]} = log({name})")
            factor = self.give(self.logarithms[base])
        else:
            factor = repr(math.log(literal))
        if factor == "1.0":
            return f"{self.dialect.module}.exp({written[0]})", _ATOM
        return f"{self.dialect.module}.exp({factor} * {_bracket(written, 3)})", _ATOM

    def where(self, arguments: tuple[int, ...], written: list[tuple[str, int]]) -> str:
        """Write torch.where, which wants a tensor first and takes its type from its branches."""
        condition, x, y = [t for t, _ in written]
        if not self.dialect.mixed:
            return f"{self.dialect.module}.where({_bracket(written[0], 2)} > 0, {x}, {y})"
        shapes = [self.graph.shapes[a] for a in arguments]
        if shapes[0] is Shape.SCALAR:
            condition = f"torch.as_tensor({condition}, device=g.device)"
        elif written[0][1] < _ATOM:
            condition = f"({condition})"
        if shapes[1] is Shape.SCALAR and shapes[2] is Shape.SCALAR:
            x = f"torch.zeros_like(g) + {x}"
        return f"torch.where({condition} > 0, {x}, {y})"

    def fill(
        self, row: Operator, template: str, written: list[tuple[str, int]], extra: dict[str, int]
    ) -> tuple[str, int]:
        """Fill a template, with parentheses where precedence asks for them."""
        if row.name == "neg":
            return f"-{_bracket(written[0], 3)}", 3
        if row.symbol:
            own = PRECEDENCE[row.symbol]
            power = row.symbol == "^"
            left = _bracket(written[0], own + 1 if power else own)
            right = _bracket(written[1], own if power else own + 1)
            return f"{left} {template} {right}", own
        exposed = {int(a or b) for a, b in _EXPOSED.findall(template)}
        filled = [_bracket(w, _ATOM if i in exposed else 0) for i, w in enumerate(written)]
        binding = _ATOM if template.endswith(")") and " * " not in template else 1
        return template.format(*filled, **extra), binding

    def operand(self, index: int) -> tuple[str, int]:
        """Write an argument of a tensor operator, a scalar as its name."""
        if self.graph.shapes[index] is not Shape.SCALAR:
            return self.text[index]
        literal = self.graph.literal(index)
        if literal is not None and abs(literal) <= LARGEST:
            return format_number(literal), 3 if repr(literal).startswith("-") else _ATOM
        return self.output(index), _ATOM

    # Scalars

    def output(self, index: int) -> str:
        """Return the name under which the scalar lines give a value to the update lines."""
        return self.give(self.named(index))

    def named(self, index: int) -> str:
        """Return the name of a scalar, written as a line of its own if it has none."""
        text, _ = self.scalar(index)
        if not text.isidentifier() or text in ("now", "T"):
            guess = {"now": "time", "T": "total"}.get(text, "scalar")
            guess = self.graph.values[index].operator if self._is_time(index) else guess
            name = self.unique(self.program.hints.get(index, guess))
            self.lines.scalar_lines.append(f"{name} = {text}")
            self.text[index] = (text := name), _ATOM
        return text

    def give(self, name: str) -> str:
        if name not in self.lines.scalars:
            self.lines.scalars.append(name)
        return name

    def scalar(self, index: int) -> tuple[str, int]:
        """Write a scalar value as an expression in float64."""
        if index in self.text:
            return self.text[index]
        value = self.graph.values[index]
        if value.operator == "number":
            return repr(value.literal), 3 if repr(value.literal).startswith("-") else _ATOM
        if value.operator == "name":
            own = {"t": "now", "T": "T"}
            return own.get(value.name) or self.lines.hyperparameters[value.name], _ATOM
        row = OPERATORS[value.operator]
        written = [self.scalar(a) for a in value.arguments]
        if row.name == "product":
            text, binding = self.product(value.arguments[0], row.name)
        else:
            text, binding = self.fill(row, row.scalar, written, {})
        self.text[index] = (text, binding)
        if (self.uses[index] > 1 and value.arguments) or len(text) > _WIDTH:
            self.named(index)
        return self.text[index]

    def complement(self, index: int) -> str:
        """Return 1 - beta, rounded once, as a name."""
        literal = self.graph.literal(index)
        if literal is not None and abs(literal) <= LARGEST:
            return repr(1.0 - literal)
        beta = self.named(index)
        if index not in self.complements:
            self.complements[index] = name = self.unique(f"one_minus_{beta}")
            self.lines.scalar_lines.append(f"{name} = 1.0 - {beta}")
        return self.give(self.complements[index])

    def weight(self, average: int) -> str:
        """Return the weight a moving average has gathered: 1 - prod beta."""
        slot = self.text[average][0]
        left, binding = self.product(self.graph.values[average].arguments[1], slot)
        name = self.unique(f"{slot}_weight")
        self.lines.scalar_lines.append(f"{name} = 1.0 - {_bracket((left, binding), 2)}")
        return self.give(name)

    def product(self, index: int, name: str) -> tuple[str, int]:
        """Write the product of a scalar over the steps so far, remembered as `name` if it must."""
        text, binding = self.scalar(index)
        if not any(
            self.graph.is_name(i, "t") or self._is_time(i) for i in self.graph.reachable(index)
        ):
            return f"{_bracket((text, binding), _ATOM)} ** (t + 1)", PRECEDENCE["^"]
        self.lines.recurrent = True
        key = self.unique(f"{name}_left")
        factor = _bracket((text, binding), 3)
        self.lines.scalar_lines.append(f'memory["{key}"] = memory.get("{key}", 1.0) * {factor}')
        return f'memory["{key}"]', _ATOM

    def unique(self, name: str) -> str:
        """Return a name that nothing else has."""
        name = f"{name}_" if keyword.iskeyword(name) else name
        stem, number = name.rstrip("0123456789") or name, 1
        while name in self.names:
            number += 1
            name = f"{stem}{number}"
        self.names.add(name)
        return name


def _tuple(names: list[str]) -> str:
    return ", ".join(names) if len(names) > 1 else f"({''.join(f'{name},' for name in names)})"


def _bracket(written: tuple[str, int], least: int) -> str:
    text, binding = written
    return text if binding >= least else f"({text})"
