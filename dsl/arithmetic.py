"""Sums and products in normal form.

Sums are lists of terms with coefficients, products lists of factors with whole exponents over a
denominator, both in one order. Nothing is cancelled that could be infinite or undefined where the
other form is not: x / x stays, and 0 * log(x) stays.
"""

import hashlib
import math
from typing import Self

from dsl.program import Graph

__all__ = ["POSITIVE", "Arithmetic"]

POSITIVE = frozenset({"abs", "exp", "sqrt", "norm", "rms"})
"""Operators that are never negative."""

_MOST = 1_000_000
"""Exponents beyond this one are not added up."""

_RISKY = frozenset({"div", "log", "sqrt", "exp", "pow"})
"""Operators that can give infinities or NaN on finite numbers."""


class Arithmetic:
    """Builds sums, products and quotients of values, themselves in normal form, in a graph."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._digests: dict[int, str] = {}
        self._total: dict[int, bool] = {}

    def copy(self) -> Self:
        """Return another that knows the same values."""
        other = type(self)()
        other.graph = self.graph.copy()
        other._digests = dict(self._digests)
        other._total = dict(self._total)
        return other

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
        if (
            not math.isfinite(coefficient)
            or max([*top.values(), *bottom.values()], default=0) > _MOST
        ):
            return self.opaque_product(powers)
        top = self.signs(top)
        if not bottom and len(top) == 1:
            [(base, exponent)] = top.items()
            if exponent == 1 and self.is_sum(base) and self.spreads(coefficient, base):
                return base if coefficient == 1.0 else self.sum([(coefficient, base)])
        coefficient, top = self.contents(coefficient, top)
        if coefficient == 0.0 and all(map(self.total, top)) and not bottom:
            return self.graph.number(0.0)
        return self.assemble(coefficient, top, bottom)

    def spreads(self, coefficient: float, index: int) -> bool:
        """Tell whether a factor can be spread over the terms of a sum without overflow."""
        return all(math.isfinite(coefficient * c) for _, c in self.terms(index))

    def opaque_product(self, powers: list[tuple[int, int]]) -> int:
        """Multiply without folding, where folding would lead too far."""
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
            positive = self.graph.values[base].operator in POSITIVE
            magnitude = base if positive else self.graph.call("abs", base)
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
        if coefficient == 0.0 and all(map(self.total, top)):
            coefficient, top = 0.0, {}
        over, under = self.chain(top), self.chain(bottom)
        magnitude = abs(coefficient)
        inverse = 1.0 / magnitude if magnitude > 1e-300 else 0.0
        divides = over is not None and under is None and magnitude != int(magnitude)
        if divides and inverse and inverse == int(inverse) and 1.0 / inverse == magnitude:
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
        """Split off a value's constant factor, of a sum what its terms share and its sign.

        The sign is that of the constant term, or of the first term in order.
        """
        if not self.is_sum(index):
            return self.split(index)
        terms = self.terms(index)
        size = abs(terms[0][1])
        if size == 0.0 or any(abs(coefficient) != size for _, coefficient in terms):
            size = 1.0
        constants = [coefficient for term, coefficient in terms if term is None]
        named = [(self.key(term), c) for term, c in terms if term is not None]
        lead = constants[0] if constants else min(named)[1]
        factor = math.copysign(size, lead)
        if factor == 1.0 or lead == 0.0:
            return 1.0, index
        one = self.graph.number(1.0)
        return factor, self.sum([(c / factor, one if t is None else t) for t, c in terms])

    def is_sum(self, index: int) -> bool:
        """Tell whether the value is a sum of several terms."""
        return self.graph.values[index].operator in ("add", "sub")

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
