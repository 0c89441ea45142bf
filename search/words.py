"""The words of the token languages: operands, and unary and binary operators as templates."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dsl.errors import RuleError
from dsl.expression import Call, Expression, Name, Node, Number
from dsl.operands import SUGAR
from dsl.operators import INFIX, OPERATORS, Kind
from dsl.program import Shape, resolve
from dsl.text import MAX_DEPTH, MAX_LENGTH, MAX_NODES, parse

X, Y = "_x", "_y"
"""What a template's `{x}` and `{y}` are called in its tree; rules seldom use such names."""


@dataclass(frozen=True)
class Lists:
    """What may be said: texts of operands, and operators with `{x}`, `{y}` for their arguments."""

    operands: tuple[str, ...]
    unary: tuple[str, ...]
    binary: tuple[str, ...]


NOS = Lists(
    operands=(
        *("g", "g^2", "g^3", "m", "v", "y", "sign(g)", "sign(m)", "1", "2"),
        # ε ~ N(0, 0.01) names the variance, as the decays the paper's authors published do
        # (TensorFlow's NoisyLinearCosineDecay), so the standard deviation is 0.1.
        "noise(0.1)",
        *("0.0001 * w", "0.001 * w", "0.01 * w", "0.1 * w", "adam", "rmsprop"),
    ),
    unary=(
        *("{x}", "-{x}", "exp({x})", "log(abs({x}))", "sqrt(abs({x}))"),
        *("clip({x}, 0.00001)", "clip({x}, 0.0001)", "clip({x}, 0.001)"),
        *("drop({x}, 0.1)", "drop({x}, 0.3)", "drop({x}, 0.5)", "sign({x})"),
    ),
    binary=("{x} + {y}", "{x} - {y}", "{x} * {y}", "{x} / ({y} + 0.00000001)", "{x}"),
)
"""The lists of Bello et al. 2017, section 3.2: 17 operands, 12 unary and 5 binary operators."""

SIGN = Lists(
    operands=("g", "m", "sign(g)", "sign(m)", "1"),
    unary=("{x}", "-{x}", "exp({x})", "sign({x})"),
    binary=("{x} + {y}", "{x} - {y}", "{x} * {y}", "{x}"),
)
"""The part of the paper's lists that its rules PowerSign and AddSign are written in."""

FULL = Lists(
    operands=(
        *("g", "g^2", "w", "u", "sign(g)", "0.001", "0.01", "0.1", "1", "2"),
        *("ld", "cd", "rd", "noise(0.1)"),
    ),
    unary=(
        *("{x}", "-{x}", "exp({x})", "log(abs({x}))", "sqrt(abs({x}))", "abs({x})", "sign({x})"),
        *("{x}^2", "{x}^3", "clip({x}, 0.001)", "clip({x}, 1)", "drop({x}, 0.3)"),
        *(f"debias(ema({{x}}, {beta}))" for beta in (0.5, 0.9, 0.95, 0.99, 0.999)),
        *("trace({x}, 0.5)", "trace({x}, 0.9)", "trace({x}, 0.99)"),
        *("prev({x})", "runmax({x})", "total({x})", "norm({x})", "rms({x})"),
    ),
    binary=(
        *("{x} + {y}", "{x} - {y}", "{x} * {y}", "{x} / ({y} + 0.00000001)", "{x}"),
        *("min({x}, {y})", "max({x}, {y})"),
    ),
)
"""State made by the search itself, of any expression, with its constants; scalars of time."""

PRESETS: dict[str, Lists] = {"nos": NOS, "sign": SIGN, "full": FULL}

KINDS = ("t", "norm(w)", "norm(g)", "w", "g")
"""One expression of every kind of value that operators tell apart: a number for the whole model,
for each tensor, for each weight; the last two without and with the gradient in them."""

ROOTS = (2, 4)
"""The kinds in which the gradient stands."""


def kind_of(tree: Node) -> int | None:
    """Return which of `KINDS` an expression is, None if it is refused."""
    try:
        program = resolve(Expression((), tree))
    except RuleError:
        return None
    shape = program.graph.shapes[program.update]
    if shape is Shape.SCALAR:
        return 0
    return (1 if shape is Shape.REDUCED else 3) + program.mentions("g")


def filled(template: Node, x: Node, y: Node | None = None) -> Node:
    """Return a template's tree with its placeholders replaced."""
    if isinstance(template, Name):
        return x if template.name == X else y if template.name == Y and y else template
    if isinstance(template, Number):
        return template
    return Call(template.operator, tuple(filled(a, x, y) for a in template.arguments))


@lru_cache(maxsize=4096)
def tree_of(text: str, places: int) -> Node:
    """Return the tree of an operand (no places), or of a template of one or two places.

    Raises:
        RuleError: the text is no expression of the rule language.
    """
    for name, place in ((X, "{x}"), (Y, "{y}"))[:places]:
        text = text.replace(place, f" {name} ")
    return parse(text).update


PROBES = tuple(parse(text).update for text in KINDS)


@lru_cache(maxsize=4096)
def outcomes(text: str, places: int) -> tuple[int | None, ...]:
    """Return what kind a word is for every kind of its arguments, x varying slowest."""
    tree = tree_of(text, places)
    if places == 0:
        return (kind_of(tree),)
    ys = PROBES if places == 2 else PROBES[:1]
    return tuple(kind_of(filled(tree, x, y)) for x in PROBES for y in ys)


def spelt(word: str, places: int) -> str:
    """Return a word written out: a bare `sign` is `sign({x})`, a bare `+` is `{x} + {y}`."""
    if places == 2 and word in INFIX:
        return f"{{x}} {word} {{y}}"
    row = OPERATORS.get(word)
    if row and places and row.arity == places and not row.symbol:
        return f"{word}({', '.join(('{x}', '{y}')[:places])})"
    return word


def fault(word: str, places: int) -> str | None:
    """Return why a word cannot stand in a list, or None.

    Args:
        word: as `spelt` writes it.
        places: 0 for operands, 1 for unary operators, 2 for binary ones.
    """
    form = ("an operand such as 'sign(m)'", "{x}, as 'exp({x})'", "{x} and {y}, as '{x} * {y}'")
    what = f"'{word[:64]}' is no {('operand', 'unary operator', 'binary operator')[places]}"
    allowed = f"allowed: {', '.join(_allowed(places))}, and expressions of the rule language with "
    if places == 0:
        allowed = f"allowed: {form[0]}, any expression of the rule language in one line"
    else:
        allowed += form[places]
    if places and "{x}" not in word and "{y}" not in word:
        return f"{what}; {allowed}"
    if re.search(r"[=\n;]|\b_[xy]\b", word):
        return f"{what}: it must be one expression, without named lines; {allowed}"
    try:
        found = outcomes(word, places)
    except RuleError as error:
        return f"{what}: {error}; {allowed}"
    if all(kind is None for kind in found):
        return f"{what}: {_refusal(word, places)}; {allowed}"
    return None


def _allowed(places: int) -> Iterator[str]:
    """Yield the names that may stand for an operator of so many places."""
    for row in OPERATORS.values():
        if row.arity == places and row.kind is not Kind.TIME and row.name not in ("neg", "debias"):
            yield row.symbol or row.name


def _refusal(word: str, places: int) -> str:
    probe = PROBES[-1]
    tree = filled(tree_of(word, places), probe, probe)
    try:
        resolve(Expression((), tree))
    except RuleError as error:
        return str(error)
    return "it is refused whatever it is applied to"


@dataclass(frozen=True)
class Extent:
    """How large a tree is: its nodes, its levels, the characters of its text at most."""

    nodes: int
    depth: int
    length: int

    def exceeds(self) -> bool:
        """Tell whether a rule of this extent may be refused by the parser."""
        return self.nodes > MAX_NODES or self.depth > MAX_DEPTH - 2 or self.length > MAX_LENGTH


def extent(tree: Node, x: Extent | None = None, y: Extent | None = None) -> Extent:
    """Return a tree's extent, its sugar written out and its placeholders as large as given."""
    if isinstance(tree, Name):
        if x and tree.name == X:
            return x
        if y and tree.name == Y:
            return y
        if tree.name in SUGAR:
            return extent(parse(SUGAR[tree.name]).update)
        return Extent(1, 1, len(tree.name) + 2)
    if isinstance(tree, Number):
        return Extent(1, 1, 26)
    parts = [extent(argument, x, y) for argument in tree.arguments]
    return Extent(
        1 + sum(part.nodes for part in parts),
        1 + max(part.depth for part in parts),
        len(tree.operator) + 4 + sum(part.length + 2 for part in parts),
    )


def widest(extents: Sequence[Extent]) -> Extent:
    """Return an extent that none of the given ones exceeds."""
    return Extent(
        max(each.nodes for each in extents),
        max(each.depth for each in extents),
        max(each.length for each in extents),
    )


def longest(lists: Lists, groups: int) -> Extent:
    """Return an extent that no rule of so many groups exceeds."""
    bank = [widest([extent(tree_of(word, 0)) for word in lists.operands])] * 2
    for _ in range(groups):
        first, second = bank[-1], bank[-2]
        unary = [tree_of(word, 1) for word in lists.unary]
        x, y = (widest([extent(tree, one) for tree in unary]) for one in (first, second))
        binary = [tree_of(word, 2) for word in lists.binary]
        # Either argument may be the larger one.
        ways = [extent(tree, *pair) for tree in binary for pair in ((x, y), (y, x))]
        bank.append(widest(ways))
    return bank[-1]
