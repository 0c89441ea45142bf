"""Whether Python's floats can raise in scalar lines, and how those read where they can.

Python raises at 1 / 0, log(0), exp(1000) and 2.0 ** 1024, and (-1.0) ** 0.5 is complex; tensors are
infinite or NaN, and training goes on. Bounds of each value (Moore 1966, "Interval Analysis") tell
whether it comes to that for any step and any hyperparameter in its range.
"""

import ast
import math
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Bounds", "guarded", "may_raise"]

_LAST = 1e15
"""No training takes more steps."""


class Bounds(NamedTuple):
    """Between which values a number lies, in units of T to some power."""

    low: float = -math.inf
    high: float = math.inf
    power: int = 0

    @property
    def plain(self) -> "Bounds":
        """The same without units; T is at least 1."""
        if not self.power:
            return self
        return Bounds(self.low, self.high * _LAST) if self.low >= 0 and self.power == 1 else ANY


ANY = Bounds()
_TIME = {
    "now": Bounds(0.0, 1.0, 1),
    "t": Bounds(0.0, _LAST),
    "T": Bounds(1.0, 1.0, 1),
    "pi": Bounds(math.pi, math.pi),
}


def may_raise(scalar_lines: list[str], hyperparameters: Mapping[str, Bounds]) -> bool:
    """Tell whether floats could raise or turn complex, given the hyperparameters' bounds."""
    known = {**hyperparameters, **_TIME}
    try:
        for line in scalar_lines:
            assignment = ast.parse(line).body[0]
            assert isinstance(assignment, ast.Assign)
            found, target = _bounds(assignment.value, known), assignment.targets[0]
            if isinstance(target, ast.Name) and target.id not in _TIME:
                known[target.id] = found
    except ArithmeticError:
        return True
    return False


def _bounds(node: ast.expr, known: Mapping[str, Bounds]) -> Bounds:
    """Bound an expression; ArithmeticError where floats could raise."""
    match node:
        case ast.Constant(value=float() | int() as value):
            return Bounds(value, value)
        case ast.Name(name):
            return known.get(name, ANY)
        case ast.UnaryOp(ast.USub(), operand):
            low, high, power = _bounds(operand, known)
            return Bounds(-high, -low, power)
        case ast.BinOp(left, operator, right):
            return _joined(operator, _bounds(left, known), _bounds(right, known))
        case ast.Compare(left, _, [right]):
            _bounds(left, known), _bounds(right, known)
            return Bounds(0.0, 1.0)
        case ast.Call(ast.Name(name), arguments):
            return _called(name, [_bounds(each, known).plain for each in arguments])
    return ANY  # what memory holds


def _joined(operator: ast.operator, a: Bounds, b: Bounds) -> Bounds:
    """Bound a sum, product, quotient, remainder or power."""
    match operator:
        case ast.Add() | ast.Sub():
            a, b = (a, b) if a.power == b.power else (a.plain, b.plain)
            low, high = (b.low, b.high) if isinstance(operator, ast.Add) else (-b.high, -b.low)
            return _between([a.low + low, a.high + high], a.power)
        case ast.Mult():
            return _between([x * y for x in a[:2] for y in b[:2]], a.power + b.power)
        case ast.Div():
            if b.low <= 0 <= b.high:
                raise ZeroDivisionError
            return _between([x / y for x in a[:2] for y in b[:2]], a.power - b.power)
        case ast.Mod():
            if b.low <= 0:
                raise ZeroDivisionError
            return Bounds(0.0, b.high, b.power)
    return _power(a.plain, b.plain)


def _power(a: Bounds, b: Bounds) -> Bounds:
    if a.low < 0 or b.low < 0 or (a.high == math.inf and b.high > 1):
        raise ArithmeticError
    if a.high <= 1:
        return Bounds(0.0, a.high if b.low >= 1 else 1.0)
    return Bounds(0.0, a.high if b.high <= 1 else a.high**b.high)  # or an OverflowError


def _called(name: str, given: list[Bounds]) -> Bounds:
    """Bound a function's value."""
    a = given[0]
    match name:
        case "log" if a.low > 0:
            return Bounds(math.log(a.low), math.log(a.high))
        case "sqrt" if a.low >= 0:
            return Bounds(math.sqrt(a.low), math.sqrt(a.high))
        case "exp" if a.high <= 700:
            return Bounds(math.exp(a.low), math.exp(a.high))
        case "cos" if -math.inf < a.low and a.high < math.inf:
            return Bounds(-1.0, 1.0)
        case "log" | "sqrt" | "exp" | "cos":
            raise ArithmeticError
        case "min" | "max":
            pick = min if name == "min" else max
            return Bounds(pick(x.low for x in given), pick(x.high for x in given))
        case "where":
            return Bounds(min(x.low for x in given[1:]), max(x.high for x in given[1:]))
    return ANY


def _between(ends: list[float], power: int) -> Bounds:
    if any(map(math.isnan, ends)):
        return Bounds(power=power)
    return Bounds(min(ends), max(ends), power)


def guarded(scalar_lines: list[str]) -> list[str]:
    """Return lines that run on floats, with `number` being float, and on float64 tensors.

    A number stands in `number(...)` where torch treats one otherwise than it does a tensor, or
    where Python would raise before any tensor is in sight.
    """
    return [_guarded(line) for line in scalar_lines]


def _guarded(line: str) -> str:
    before, after = ast.parse(line), _Guard().visit(ast.parse(line))
    same = ast.dump(before) == ast.dump(after)
    return line if same else ast.unparse(ast.fix_missing_locations(after)).replace("'", '"')


class _Guard(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Div | ast.Pow | ast.Mod):
            left, right = _static(node.left), _static(node.right)
            if left and (right or not isinstance(node.op, ast.Pow)):
                node.left = _number(node.left)
            if right and (left or not isinstance(node.op, ast.Div)):
                node.right = _number(node.right)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        node.left = _number(node.left) if _static(node.left) else node.left
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name):
            node.args = [_number(each) if _static(each) else each for each in node.args]
        return node


def _number(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("number", ast.Load()), [node], [])


def _static(node: ast.expr) -> bool:
    """Tell whether an expression is of numbers alone, and cannot raise."""
    match node:
        case ast.Constant() | ast.Name("pi"):
            return True
        case ast.UnaryOp(_, operand):
            return _static(operand)
        case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult(), right):
            return _static(left) and _static(right)
    return False
