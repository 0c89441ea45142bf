"""The normal form of a value graph: equal up to rounding, overflow and underflow of the numbers.

Sums become lists of terms with coefficients, products lists of factors with whole exponents over
a denominator, both in one order; signs and constant factors move outwards through what commutes
with them; constants fold; signs of products split. Nothing is cancelled that could be infinite or
undefined where the other form is not: x / x stays, and 0·log(x) stays.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

from dsl.operators import OPERATORS
from dsl.program import Graph, Program, Shape, Value
from dsl.scalars import sign

__all__ = ["Normalizer"]

_LINEAR = frozenset({"ema", "trace", "total", "prev", "debias", "mean", "drop"})
"""Operators with f(c·x) = c·f(x)."""

_ODD = frozenset({"sign", "clip"})
"""Operators with f(-x) = -f(x)."""

_EVEN = frozenset({"abs", "norm", "rms"})
"""Operators with f(c·x) = |c|·f(x)."""

_POSITIVE = frozenset({"abs", "exp", "sqrt", "norm", "rms"})
"""Operators that are never negative."""

_RISKY = frozenset({"div", "log", "sqrt", "exp", "pow"})
"""Operators that can give infinities or NaN on finite numbers."""


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


class Normalizer:
    """Rebuilds values in a graph of its own, each in normal form."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._digests: dict[int, str] = {}
        self._total: dict[int, bool] = {}

    def run(self, program: Program) -> int:
        """Return the normal form of a program's update."""
        done: dict[int, int] = {}
        for index in program.order:
            value = program.graph.values[index]
            done[index] = self.build(value, [done[a] for a in value.arguments])
        return done[program.update]

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

    # Sums

    def sum(self, weighted: list[tuple[float, int]]) -> int:
        """Return the normal form of a sum of coefficients times values."""
        terms: dict[int, float] = {}
        constant = 0.0
        for weight, index in weighted:
            for term, coefficient in self.terms(index):
                if term is None:
                    constant += weight * coefficient
                else:
                    terms[term] = terms.get(term, 0.0) + weight * coefficient
        kept = [(c, t) for t, c in terms.items() if c != 0.0 or not self.total(t)]
        if not all(map(math.isfinite, [constant, *(c for c, _ in kept)])):
            kept, constant = [(w, i) for w, i in weighted], 0.0
        kept.sort(key=lambda pair: (pair[0] < 0.0, -self.graph.shapes[pair[1]], self.key(pair[1])))
        if constant != 0.0 or not kept:
            kept.append((constant, self.graph.number(1.0)))
            kept.sort(key=lambda pair: pair[0] < 0.0)
        result = self.scaled(*kept[0])
        for coefficient, term in kept[1:]:
            operator = "sub" if coefficient < 0.0 else "add"
            result = self.graph.call(operator, result, self.scaled(abs(coefficient), term))
        return result

    def terms(self, index: int) -> list[tuple[int | None, float]]:
        """Split a value in normal form into terms and coefficients; None is the constant term."""
        value = self.graph.values[index]
        if value.operator == "number":
            return [(None, value.literal)]
        if value.operator in ("add", "sub"):
            sign = -1.0 if value.operator == "sub" else 1.0
            left, right = value.arguments
            return self.terms(left) + [(t, sign * c) for t, c in self.terms(right)]
        coefficient, rest = self.split(index)
        if coefficient != 1.0 and self.graph.values[rest].operator in ("add", "sub"):
            return [(t, coefficient * c) for t, c in self.terms(rest)]
        return [(rest, coefficient)]

    def split(self, index: int) -> tuple[float, int]:
        """Split off a value's constant factor."""
        value = self.graph.values[index]
        if value.operator == "neg":
            coefficient, rest = self.split(value.arguments[0])
            return -coefficient, rest
        if value.operator == "number":
            return value.literal, self.graph.number(1.0)
        if value.operator in ("mul", "div"):
            coefficient, top, bottom = self.factors(index)
            if coefficient != 1.0:
                return coefficient, self.assemble(1.0, top, bottom)
        return 1.0, index

    def scaled(self, coefficient: float, index: int) -> int:
        """Return the normal form of a constant times a value."""
        return self.product(coefficient, [(index, 1)])

    # Products

    def product(self, coefficient: float, powers: list[tuple[int, int]]) -> int:
        """Return the normal form of a constant times whole powers of values."""
        top: dict[int, int] = {}
        bottom: dict[int, int] = {}
        for index, exponent in powers:
            constant, over, under = self.factors(index)
            try:
                coefficient *= constant**exponent
            except OverflowError:
                coefficient = math.inf
            for base, count in over.items():
                top[base] = top.get(base, 0) + count * exponent
            for base, count in under.items():
                bottom[base] = bottom.get(base, 0) + count * exponent
        if not math.isfinite(coefficient):
            return self.opaque_product(powers)
        top = self.signs(top)
        if not bottom and len(top) == 1:
            [(base, exponent)] = top.items()
            if exponent == 1 and self.is_sum(base):
                return base if coefficient == 1.0 else self.sum([(coefficient, base)])
        coefficient, top = self.contents(coefficient, top)
        if coefficient == 0.0 and all(map(self.total, top)) and not bottom:
            return self.graph.number(0.0)
        return self.assemble(coefficient, top, bottom)

    def opaque_product(self, powers: list[tuple[int, int]]) -> int:
        """Multiply without folding, where folding would overflow."""
        flat = [index for index, exponent in powers for _ in range(exponent)]
        result = flat[0]
        for index in flat[1:]:
            result = self.graph.call("mul", result, index)
        return result

    def factors(self, index: int) -> tuple[float, dict[int, int], dict[int, int]]:
        """Split a value in normal form into a constant, factors and divisors with exponents."""
        value = self.graph.values[index]
        if value.operator == "number":
            return value.literal, {}, {}
        if value.operator == "neg":
            coefficient, top, bottom = self.factors(value.arguments[0])
            return -coefficient, top, bottom
        if value.operator == "mul":
            a, top, bottom = self.factors(value.arguments[0])
            b, top2, bottom2 = self.factors(value.arguments[1])
            if math.isfinite(a * b):
                return a * b, _merged(top, top2), _merged(bottom, bottom2)
        if value.operator == "div":
            a, top, bottom = self.factors(value.arguments[0])
            b, under, over = self.factors(value.arguments[1])
            if b != 0.0 and not over and math.isfinite(a / b):
                return a / b, top, _merged(bottom, under)
        if value.operator == "pow":
            exponent = self.graph.literal(value.arguments[1])
            if exponent is not None and exponent == int(exponent) and exponent >= 2:
                return 1.0, {value.arguments[0]: int(exponent)}, {}
        return 1.0, {index: 1}, {}

    def signs(self, top: dict[int, int]) -> dict[int, int]:
        """Join x·sign(x) to |x| and |x|·sign(x) to x, and shorten powers of signs."""
        for index in sorted(top, key=self.key):
            value = self.graph.values[index]
            if value.operator != "sign" or index not in top:
                continue
            base = value.arguments[0]
            magnitude = self.graph.call("abs", base)
            count = top.pop(index)
            count = count if count <= 2 else 2 - count % 2
            for old, new in ((base, magnitude), (magnitude, base)):
                if count == 1 and top.get(old, 0) == 1:
                    del top[old]
                    top[new] = top.get(new, 0) + 1
                    count = 0
            if count:
                top[index] = count
        return top

    def assemble(self, coefficient: float, top: dict[int, int], bottom: dict[int, int]) -> int:
        """Build a product: constant, then scalars, then tensors, over the divisors."""
        over, under = self.chain(top), self.chain(bottom)
        magnitude = abs(coefficient)
        inverse = 1.0 / magnitude if magnitude else 0.0
        divides = over is not None and under is None and magnitude != int(magnitude)
        if divides and inverse == int(inverse) and 1.0 / inverse == magnitude:
            under = self.graph.number(inverse)
            magnitude = 1.0
        negative = coefficient < 0.0 and over is not None and magnitude == 1.0
        if over is None:
            over = self.graph.number(coefficient)
        elif magnitude != 1.0:
            over = self.chain(top, coefficient)
            assert over is not None
        result = over if under is None else self.graph.call("div", over, under)
        return self.graph.call("neg", result) if negative else result

    def chain(self, powers: dict[int, int], coefficient: float = 1.0) -> int | None:
        """Multiply powers in order, or return None if there are none."""
        result = self.graph.number(coefficient) if coefficient != 1.0 else None
        for base in sorted(powers, key=self.key):
            factor = base
            if powers[base] != 1:
                factor = self.graph.call("pow", base, self.graph.number(float(powers[base])))
            result = factor if result is None else self.graph.call("mul", result, factor)
        return result

    def quotient(self, over: int, under: int) -> int:
        """Return the normal form of a division."""
        a, top, bottom = self.factors(over)
        b, under_top, under_bottom = self.factors(under)
        if b == 0.0 or under_bottom or not math.isfinite(a / b):
            return self.graph.call("div", over, under)
        b, under_top = self.contents(b, under_top)
        if b == 0.0 or not math.isfinite(a / b):
            return self.graph.call("div", over, under)
        a, top = self.contents(a / b, top)
        return self.assemble(a, top, _merged(bottom, under_top))

    def contents(self, coefficient: float, powers: dict[int, int]) -> tuple[float, dict[int, int]]:
        """Scale every sum among the factors so that its first term has the coefficient 1."""
        found: dict[int, int] = {}
        for base, exponent in powers.items():
            constant, rest = self.content(base)
            try:
                scaled = coefficient * constant**exponent
            except OverflowError:
                scaled = math.inf
            if not math.isfinite(scaled) or (scaled == 0.0 and coefficient != 0.0):
                rest = base
            else:
                coefficient = scaled
            found[rest] = found.get(rest, 0) + exponent
        return coefficient, found

    def content(self, index: int) -> tuple[float, int]:
        """Split a value into a constant and a value, a sum so that its first term has no factor."""
        if not self.is_sum(index):
            return self.split(index)
        terms = self.terms(index)
        named = [(t, c) for t, c in terms if t is not None and c != 0.0]
        if not named:
            return 1.0, index
        first = min(named, key=lambda pair: self.key(pair[0]))[1]
        scaled = [(c / first, self.graph.number(1.0) if t is None else t) for t, c in terms]
        if first == 1.0 or not all(math.isfinite(c) and c for c, _ in scaled):
            return 1.0, index
        return first, self.sum(scaled)

    def is_sum(self, index: int) -> bool:
        """Tell whether the value is a sum of several terms."""
        return self.graph.values[index].operator in ("add", "sub")

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
            if operator in _ODD and coefficient < 0.0:
                flipped = self.scaled(-1.0, arguments[0])
                return self.scaled(-1.0, self.function(operator, [flipped, *arguments[1:]]))
            if operator not in _ODD and coefficient not in (0.0, 1.0):
                outer = abs(coefficient) if operator in _EVEN else coefficient
                return self.scaled(outer, self.function(operator, [rest, *arguments[1:]]))
        return self.graph.call(operator, *arguments)

    def collapsed(self, operator: str, arguments: list[int]) -> int:
        """Apply a tensor's operator to what has turned out to be one number."""
        if operator == "mean":
            return arguments[0]
        if operator == "rms":
            return self.function("abs", arguments)
        if self.graph.literal(arguments[0]) == 0.0:
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

    # Order

    def key(self, index: int) -> tuple[int, int, str, str]:
        """Return what values are sorted by: the same for equal values of any two graphs."""
        value = self.graph.values[index]
        label = f"{value.operator} {value.name}"
        return self.graph.shapes[index], self.graph.depths[index], label, self.digest(index)

    def digest(self, index: int) -> str:
        """Return a hash of the value's structure."""
        if index not in self._digests:
            value = self.graph.values[index]
            inner = " ".join(self.digest(a) for a in value.arguments)
            said = f"{value.operator} {value.name} {value.literal!r} {inner}"
            self._digests[index] = hashlib.sha256(said.encode()).hexdigest()[:16]
        return self._digests[index]

    def total(self, index: int) -> bool:
        """Tell whether a value is finite wherever its operands are."""
        if index not in self._total:
            value = self.graph.values[index]
            risky = value.operator in _RISKY
            if value.operator == "pow":
                exponent = self.graph.literal(value.arguments[1])
                risky = exponent is None or exponent < 0 or exponent != int(exponent)
            self._total[index] = not risky and all(map(self.total, value.arguments))
        return self._total[index]


def _merged(a: dict[int, int], b: dict[int, int]) -> dict[int, int]:
    return {index: a.get(index, 0) + b.get(index, 0) for index in {**a, **b}}


def _sign(self: Normalizer, arguments: list[int]) -> int | None:
    coefficient, top, bottom = self.factors(arguments[0])
    single = len(top) == 1 and not bottom and set(top.values()) == {1} and coefficient == 1.0
    if single:
        inner = self.graph.values[arguments[0]]
        if inner.operator == "sign":
            return arguments[0]
        return self.function("sign", [inner.arguments[0]]) if inner.operator == "debias" else None
    if bottom or coefficient == 0.0:
        return None
    parts = [(self.function("sign", [base]), 2 - count % 2) for base, count in top.items()]
    return self.product(math.copysign(1.0, coefficient), parts)


def _abs(self: Normalizer, arguments: list[int]) -> int | None:
    value = self.graph.values[arguments[0]]
    if value.operator in _POSITIVE:
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


def _debias(self: Normalizer, arguments: list[int]) -> int | None:
    _, rest = self.split(arguments[0])
    if self.graph.values[rest].operator == "ema":
        return None
    return arguments[0]  # an average over no time is its argument, already unbiased


def _noise(self: Normalizer, arguments: list[int]) -> int | None:
    return arguments[0] if self.graph.literal(arguments[0]) == 0.0 else None


_SPECIAL: dict[str, Callable[[Normalizer, list[int]], int | None]] = {
    "sign": _sign,
    "abs": _abs,
    "sqrt": _sqrt,
    "min": _same,
    "max": _same,
    "where": _same,
    "ema": _memoryless,
    "trace": _memoryless,
    "drop": _memoryless,
    "debias": _debias,
    "noise": _noise,
}
