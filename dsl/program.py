"""From the tree to a value graph: names looked up, lines read in, equal values shared.

The graph is what the canonical form, the checks, the compiler and the exporter work on. A value
is a small integer; its arguments come before it. Equal values are one value, so equal state
expressions share a slot and equal random expressions a draw.
"""

import math
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import NamedTuple, NoReturn

from dsl.errors import RuleError, nearest
from dsl.expression import Call, Expression, Name, Node, Number
from dsl.operands import BARE, HYPERPARAMETERS, OPERANDS, SUGAR
from dsl.operators import OPERATORS, Kind, Operator
from dsl.text import FUNCTIONS, MAX_DEPTH, MAX_NODES, parse

__all__ = ["Graph", "Program", "Shape", "Value", "resolve"]


class Shape(IntEnum):
    """What a value spans, in the order in which they broadcast."""

    SCALAR = 0
    """One number for the whole model, known before the step: computed in float64."""
    REDUCED = 1
    """One number per tensor."""
    FULL = 2
    """One number per weight."""


class Value(NamedTuple):
    """One value of a graph: an operator on values, a number, or a name."""

    operator: str
    """A row of the operator table, "number" or "name"."""
    arguments: tuple[int, ...] = ()
    literal: float = 0.0
    name: str = ""


@dataclass
class Graph:
    """Values in an order in which arguments come first; equal values appear once."""

    values: list[Value] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _numbers: dict[Value | tuple[Value, str], int] = field(default_factory=dict, repr=False)

    def add(self, value: Value) -> int:
        """Return the number of this value, adding it if it is new."""
        # 0 and -0 are equal, and two values
        key = (value, repr(value.literal)) if value.operator == "number" else value
        known = self._numbers.get(key)
        if known is not None:
            return known
        self._numbers[key] = number = len(self.values)
        self.values.append(value)
        self.shapes.append(self._shape(value))
        depths = [self.depths[a] for a in value.arguments]
        self.depths.append(1 + max(depths) if depths else 1)
        return number

    def copy(self) -> "Graph":
        """Return a graph of the same values, to add others to."""
        return Graph(list(self.values), list(self.shapes), list(self.depths), dict(self._numbers))

    def number(self, literal: float) -> int:
        """Return the value of a literal."""
        return self.add(Value("number", literal=literal))

    def name(self, name: str) -> int:
        """Return the value of an operand or hyperparameter."""
        return self.add(Value("name", name=name))

    def call(self, operator: str, *arguments: int) -> int:
        """Return the value of an operator applied to values."""
        return self.add(Value(operator, arguments))

    def reachable(self, *roots: int) -> list[int]:
        """Return the values that the roots need, arguments first."""
        needed: set[int] = set()
        stack = list(roots)
        while stack:
            index = stack.pop()
            if index not in needed:
                needed.add(index)
                stack.extend(self.values[index].arguments)
        return sorted(needed)

    def is_name(self, index: int, name: str) -> bool:
        """Tell whether the value is this operand or hyperparameter."""
        return self.values[index].operator == "name" and self.values[index].name == name

    def literal(self, index: int) -> float | None:
        """Return the number that the value is, or None if it is none."""
        value = self.values[index]
        return value.literal if value.operator == "number" else None

    def _shape(self, value: Value) -> Shape:
        if value.operator == "number":
            return Shape.SCALAR
        if value.operator == "name":
            return Shape.FULL if value.name in ("g", "w", "u") else Shape.SCALAR
        kind = OPERATORS[value.operator].kind
        if kind is Kind.TIME:
            return Shape.SCALAR
        if kind is Kind.REDUCTION:
            return Shape.REDUCED
        if kind is Kind.POINTWISE:
            return max(self.shapes[a] for a in value.arguments)
        return Shape.FULL


@dataclass(frozen=True)
class Program:
    """A rule with its names looked up."""

    graph: Graph
    update: int
    order: tuple[int, ...]
    """The values that the update needs, arguments first."""
    hyperparameters: dict[str, float]
    """The ones the update depends on, with their defaults, in the order of their first use."""
    hints: dict[int, str]
    """Names that the rule's author (or the sugar) gave to values."""

    def is_positive(self, index: int) -> bool:
        """Tell whether a value is a number, or a hyperparameter, above 0 by its default.

        Powers of those are computed as exp(x log(base)).
        """
        value = self.graph.values[index]
        literal = value.literal
        if value.operator == "name":
            literal = self.hyperparameters.get(value.name, 0.0)
        return value.operator in ("name", "number") and 0.0 < literal < math.inf

    def mentions(self, name: str) -> bool:
        """Tell whether the update depends on an operand or hyperparameter."""
        return any(self.graph.is_name(index, name) for index in self.order)


def resolve(expression: Expression) -> Program:
    """Look up every name of a rule and check the kinds of all arguments.

    Raises:
        RuleError: A name is unknown, reserved or given twice; an argument is of the wrong kind;
            or the rule is too large once its lines are read in.
    """
    return _Resolver(expression).run()


@cache
def _sugar(name: str) -> Node:
    return parse(SUGAR[name]).update


class _Resolver:
    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self.graph = Graph()
        self.defaults = dict(HYPERPARAMETERS)
        self.lines: dict[str, int] = {}
        self.hints: dict[int, str] = {}
        self.anchor: int | None = None
        """Where the rule mentions the sugar that is being read, if one is."""

    def fail(self, node: Node, message: str, hint: str = "") -> NoReturn:
        position = node.position if self.anchor is None else self.anchor
        raise RuleError(message, self.expression.text, position, hint)

    def run(self) -> Program:
        self.declare()
        for line in self.expression.lines:
            if not isinstance(line.value, Number):
                value = self.value(line.value)
                self.lines[line.name] = value
                self.hint(value, line.name)
        update = self.value(self.expression.update)
        order = tuple(self.graph.reachable(update))
        names = [each.name for i in order if (each := self.graph.values[i]).operator == "name"]
        used = {name: self.defaults[name] for name in names if name not in OPERANDS}
        return Program(self.graph, update, order, used, self.hints)

    def hint(self, value: int, name: str) -> None:
        """Remember what the author calls a value; a debiased average's name is its average's."""
        operator = self.graph.values[value].operator
        if operator == "debias":
            self.hints.setdefault(self.graph.values[value].arguments[0], name)
            name = f"{name}_hat"
        if operator not in ("name", "number"):
            self.hints[value] = name

    def declare(self) -> None:
        """Check the lines' names and read the hyperparameters' defaults."""
        seen: set[str] = set()
        for line in self.expression.lines:
            at = Name(line.name, line.position)
            if line.name in OPERANDS:
                meaning = OPERANDS[line.name]
                self.fail(at, f"'{line.name}' is {meaning}: give the line another name")
            if line.name in OPERATORS:
                self.fail(at, f"'{line.name}' is an operator: give the line another name")
            if line.name in seen:
                self.fail(at, f"'{line.name}' is given twice", "Each name is given once.")
            seen.add(line.name)
            if isinstance(line.value, Number):
                self.defaults[line.name] = line.value.value

    def value(self, node: Node) -> int:
        if isinstance(node, Number):
            return self.graph.number(node.value)
        if isinstance(node, Name):
            return self.named(node)
        row = OPERATORS[node.operator]
        arguments = [self.value(argument) for argument in node.arguments]
        self.check(row, arguments, node)
        return self.add(Value(row.name, tuple(arguments)), node)

    def add(self, value: Value, node: Node) -> int:
        index = self.graph.add(value)
        if len(self.graph.values) > MAX_NODES:
            self.fail(node, f"A rule has at most {MAX_NODES} distinct values")
        if self.graph.depths[index] > MAX_DEPTH:
            self.fail(node, f"With its lines read in, a rule is at most {MAX_DEPTH} levels deep")
        return index

    def named(self, node: Name) -> int:
        name = node.name
        if name in self.lines:
            return self.lines[name]
        if name in OPERANDS:
            return self.add(Value("name", name=name), node)
        if name in BARE:
            arguments = tuple(self.graph.number(number) for number in BARE[name])
            return self.add(Value(name, arguments), node)
        declared = {line.name for line in self.expression.lines if isinstance(line.value, Number)}
        if name in SUGAR and name not in declared:
            return self.sugar(node)
        if name in self.defaults:
            return self.add(Value("name", name=name), node)
        later = any(line.name == name for line in self.expression.lines)
        if later:
            self.fail(node, f"'{name}' is used before its line", "Move its line up.")
        if name in FUNCTIONS:
            meaning = OPERATORS[name].meaning
            self.fail(node, f"'{name}' takes its arguments in parentheses", f"{name}: {meaning}.")
        known = {*self.lines, *OPERANDS, *BARE, *SUGAR, *self.defaults, *FUNCTIONS}
        self.fail(node, f"Unknown name '{name}'", nearest(name, sorted(known)))

    def sugar(self, node: Name) -> int:
        outer, self.anchor = self.anchor, node.position if self.anchor is None else self.anchor
        value = self.value(_sugar(node.name))
        self.anchor = outer
        if value not in self.hints:
            suffix = "" if self.graph.values[value].operator == "debias" else "_step"
            self.hint(value, f"{node.name}{suffix}")
        return value

    def check(self, row: Operator, arguments: list[int], node: Call) -> None:
        """Check that the arguments are of the kinds that the operator takes."""
        graph = self.graph
        for place, (want, index) in enumerate(zip(row.arguments, arguments, strict=True)):
            at = node.arguments[place]
            if want == "s" and graph.shapes[index] is not Shape.SCALAR:
                self.fail(
                    at,
                    f"Argument {place + 1} of '{row.name}' must be a scalar, "
                    "which gradients, weights and state are not",
                    "Scalars are numbers, hyperparameters, t, T, ld, cd(n), rd(n), demon(b) "
                    "and what is computed from them.",
                )
            if want == "v" and graph.shapes[index] is Shape.SCALAR:
                self.fail(
                    at,
                    f"'{row.name}' needs a tensor, and this is a scalar",
                    "Tensors are g, w, u and what is computed from them.",
                )
        if row.kind is Kind.REDUCTION and graph.shapes[arguments[0]] is not Shape.FULL:
            self.fail(node, f"'{row.name}' of what is already one number per tensor")
        if row.kind is Kind.DEBIAS and graph.values[arguments[0]].operator != "ema":
            self.fail(node, "'debias' takes a moving average", "Write debias(ema(x, beta)).")
