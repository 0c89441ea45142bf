"""The normal form of a value graph: equal up to rounding, overflow and underflow of the numbers.

Besides sums and products (`dsl.arithmetic`): signs and constant factors move outwards through what
commutes with them, constants fold, signs of products split.
"""

import math
from collections.abc import Callable
from typing import Any

from dsl.arithmetic import POSITIVE, Arithmetic
from dsl.operators import OPERATORS
from dsl.program import Program, Shape, Value
from dsl.scalars import sign

__all__ = ["Normalizer"]

_LINEAR = frozenset({"ema", "trace", "total", "prev", "debias", "mean", "drop"})
"""Operators with f(c·x) = c·f(x)."""

_ODD = frozenset({"sign", "clip"})
"""Operators with f(-x) = -f(x)."""

_EVEN = frozenset({"abs", "norm", "rms"})
"""Operators with f(c·x) = |c|·f(x)."""

_PASSES = 8
"""Passes after which a normal form is taken as it is."""

_FOLDS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "clip": lambda x, c: max(-c, min(x, c)),
    "exp": math.exp,
    "log": math.log,
    "max": max,
    "min": min,
    "pow": lambda x, y: x**y,
    "sign": sign,
    "sqrt": math.sqrt,
    "where": lambda c, x, y: x if c > 0.0 else y,
}
"""Functions of numbers."""


class Normalizer(Arithmetic):
    """Rebuilds values in a graph of its own, each in normal form."""

    def run(self, program: Program) -> int:
        """Return the normal form of a program's update."""
        done: dict[int, int] = {}
        for index in program.order:
            value = program.graph.values[index]
            done[index] = self.build(value, [done[a] for a in value.arguments])
        return done[program.update]

    def settle(self, update: int) -> int:
        """Return the normal form of a normal form: itself, where one pass found all there is."""
        for _ in range(_PASSES):
            done: dict[int, int] = {}
            for index in self.graph.reachable(update):
                value = self.graph.values[index]
                done[index] = self.build(value, [done[a] for a in value.arguments])
            if done[update] == update:
                break
            update = done[update]
        return update

    def build(self, value: Value, arguments: list[int]) -> int:
        """Return the normal form of one value whose arguments are in normal form."""
        operator = value.operator
        if operator in ("number", "name"):
            return self.graph.add(value)
        if operator in ("add", "sub"):
            return self.sum(
                [(1.0, arguments[0]), (-1.0 if operator == "sub" else 1.0, arguments[1])]
            )
        if operator == "neg":
            return self.scaled(-1.0, arguments[0])
        if operator == "mul":
            return self.product(1.0, [(arguments[0], 1), (arguments[1], 1)])
        if operator == "div":
            return self.quotient(*arguments)
        if operator == "square":
            return self.product(1.0, [(arguments[0], 2)])
        if operator == "pow":
            return self.power(*arguments)
        return self.function(operator, arguments)

    def power(self, base: int, exponent: int) -> int:
        """Return the normal form of a power."""
        literal = self.graph.literal(exponent)
        number = self.graph.literal(base)
        if literal is not None and number is not None:
            return self.fold("pow", [base, exponent])
        if literal is not None and literal == int(literal) and abs(literal) <= 16:
            count = int(literal)
            if count == 0:
                return self.graph.number(1.0)
            if count > 0:
                return self.product(1.0, [(base, count)])
            return self.quotient(self.graph.number(1.0), self.product(1.0, [(base, -count)]))
        if literal == 0.5:
            return self.function("sqrt", [base])
        if number == math.e:
            return self.function("exp", [exponent])
        return self.graph.number(1.0) if number == 1.0 else self.graph.call("pow", base, exponent)

    # Functions

    def function(self, operator: str, arguments: list[int]) -> int:
        """Return the normal form of a function of values in normal form."""
        row = OPERATORS[operator]
        if "v" in row.arguments and self.graph.shapes[arguments[0]] is Shape.SCALAR:
            return self.collapsed(operator, arguments)
        if operator in _FOLDS and None not in [self.graph.literal(a) for a in arguments]:
            return self.fold(operator, arguments)
        if row.commutative:
            arguments = sorted(arguments, key=self.key)
        special = _SPECIAL.get(operator)
        found = special(self, arguments) if special else None
        if found is not None:
            return found
        if operator in _LINEAR | _ODD | _EVEN:
            coefficient, rest = self.content(arguments[0])
            if operator in _ODD and coefficient < 0.0 and self.is_odd(operator, arguments):
                flipped = self.scaled(-1.0, arguments[0])
                return self.scaled(-1.0, self.function(operator, [flipped, *arguments[1:]]))
            if operator not in _ODD and coefficient not in (0.0, 1.0):
                outer = abs(coefficient) if operator in _EVEN else coefficient
                return self.scaled(outer, self.function(operator, [rest, *arguments[1:]]))
        return self.graph.call(operator, *arguments)

    def is_odd(self, operator: str, arguments: list[int]) -> bool:
        """Tell whether f(-x) = -f(x): clip is odd only where its bound is not negative."""
        return operator != "clip" or (self.graph.literal(arguments[1]) or -1.0) > 0.0

    def collapsed(self, operator: str, arguments: list[int]) -> int:
        """Apply a tensor's operator to what has turned out to be one number."""
        if operator == "mean":
            return arguments[0]
        if operator == "rms":
            return self.function("abs", arguments)
        if self.graph.literal(arguments[0]) == 0.0 and operator in _LINEAR | _EVEN | {"runmax"}:
            return self.graph.number(0.0)
        # Said with a tensor, so that the form can be written: x + 0·g spans the weights.
        zero = self.graph.call("mul", self.graph.number(0.0), self.graph.name("g"))
        return self.graph.call(operator, self.graph.call("add", zero, arguments[0]), *arguments[1:])

    def fold(self, operator: str, arguments: list[int]) -> int:
        """Compute an operator on numbers, if the result is one."""
        numbers = [self.graph.literal(a) for a in arguments]
        try:
            result = _FOLDS[operator](*numbers)
        except (ArithmeticError, ValueError):
            return self.graph.call(operator, *arguments)
        if isinstance(result, complex) or not math.isfinite(result):
            return self.graph.call(operator, *arguments)
        return self.graph.number(float(result))


def _sign(self: Normalizer, arguments: list[int]) -> int | None:
    coefficient, top, bottom = self.factors(arguments[0])
    single = len(top) == 1 and not bottom and set(top.values()) == {1} and coefficient == 1.0
    if single:
        inner = self.graph.values[arguments[0]]
        if inner.operator == "sign":
            return arguments[0]
        return self.function("sign", [inner.arguments[0]]) if inner.operator == "debias" else None
    # A power of a small number underflows to 0, whose sign is another: g ^ 3 from 1e-15 in float32.
    if bottom or coefficient == 0.0 or max(top.values(), default=1) > 1:
        return None
    parts = [(self.function("sign", [base]), 1) for base in top]
    return self.product(math.copysign(1.0, coefficient), parts)


def _abs(self: Normalizer, arguments: list[int]) -> int | None:
    value = self.graph.values[arguments[0]]
    if value.operator in POSITIVE:
        return arguments[0]
    if value.operator == "pow":
        exponent = self.graph.literal(value.arguments[1])
        if exponent is not None and exponent % 2 == 0:
            return arguments[0]
    return None


def _sqrt(self: Normalizer, arguments: list[int]) -> int | None:
    value = self.graph.values[arguments[0]]
    if value.operator == "pow" and self.graph.literal(value.arguments[1]) == 2.0:
        return self.function("abs", [value.arguments[0]])
    return None


def _same(self: Normalizer, arguments: list[int]) -> int | None:
    return arguments[-1] if arguments[-2] == arguments[-1] else None


def _memoryless(self: Normalizer, arguments: list[int]) -> int | None:
    return arguments[0] if self.graph.literal(arguments[1]) == 0.0 else None


def _noise(self: Normalizer, arguments: list[int]) -> int | None:
    return arguments[0] if self.graph.literal(arguments[0]) == 0.0 else None


_SPECIAL: dict[str, Callable[[Normalizer, list[int]], int | None]] = {
    "sign": _sign,
    "abs": _abs,
    "sqrt": _sqrt,
    "min": _same,
    "max": _same,
    "where": _same,
    "trace": _memoryless,
    "drop": _memoryless,
    "noise": _noise,
}
