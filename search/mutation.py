"""Changes to rules as trees: what evolution makes of one rule, or of two.

Every change keeps a rule typed (`search.words.kind_of`) and within the language's extent. New
parts are words of the language; parts of a rule that are none, as one that a search was started
from may hold, are kept, moved and dropped like the others.
"""

import random
from collections.abc import Callable, Iterator, Mapping

from dsl.expression import Call, Name, Node, Number
from dsl.operators import OPERATORS
from dsl.text import parse
from search.language import Language
from search.words import ROOTS, Extent, X, Y, extent, filled, kind_of, tree_of, widest

Path = tuple[int, ...]
"""Which argument of which argument … of a tree."""

TRIES = 64
"""Changes tried before a rule is given up as it is."""

NEAREST = 1e-4
"""How close to 1 a changed weight of the past comes at most."""


def inlined(text: str) -> Node:
    """Return a rule as one tree, its named lines written where they are used.

    Raises:
        RuleError: the text is no rule.
    """
    expression = parse(text)
    lines: dict[str, Node] = {}
    for line in expression.lines:
        lines[line.name] = _read_in(line.value, lines)
    return _read_in(expression.update, lines)


def _read_in(node: Node, lines: Mapping[str, Node]) -> Node:
    if isinstance(node, Name):
        return lines.get(node.name, Name(node.name))
    if isinstance(node, Number):
        return Number(node.value)
    return Call(node.operator, tuple(_read_in(argument, lines) for argument in node.arguments))


def at(tree: Node, path: Path) -> Node:
    """Return the subtree at a path."""
    for place in path:
        assert isinstance(tree, Call)
        tree = tree.arguments[place]
    return tree


def replaced(tree: Node, path: Path, new: Node) -> Node:
    """Return the tree with another subtree at a path."""
    if not path:
        return new
    assert isinstance(tree, Call)
    arguments = list(tree.arguments)
    arguments[path[0]] = replaced(arguments[path[0]], path[1:], new)
    return Call(tree.operator, tuple(arguments))


def bound(template: Node, tree: Node) -> dict[str, Node] | None:
    """Return what a template's placeholders stand for if it says this tree, else None."""
    if isinstance(template, Name) and template.name in (X, Y):
        return {template.name: tree}
    if not isinstance(template, Call):
        return {} if template == tree else None
    if not isinstance(tree, Call) or tree.operator != template.operator:
        return None
    found: dict[str, Node] = {}
    for part, argument in zip(template.arguments, tree.arguments, strict=True):
        inner = bound(part, argument)
        if inner is None or any(found.get(name, node) != node for name, node in inner.items()):
            return None
        found |= inner
    return found


class Variation:
    """Draws changes of rules."""

    def __init__(self, language: Language, constants: bool, room: tuple[Node, ...] = ()) -> None:
        """Use the words of `language`.

        Args:
            language: whose words are new parts, and whose largest rule is the largest here.
            constants: whether numbers in a rule, weights of averages among them, change too.
            room: rules that may be as large as they are, though the language says none so large.
        """
        lists = language.lists
        self.operands = [tree_of(word, 0) for word in lists.operands]
        # `{x}` alone says nothing in a tree.
        self.unary = [tree_of(word, 1) for word in lists.unary if word != "{x}"]
        self.binary = [tree_of(word, 2) for word in lists.binary if word not in ("{x}", "{y}")]
        self.constants = constants
        self.most = widest([language.extent, *map(extent, room)])
        self._changes: list[tuple[str, Callable[[Node, random.Random], Node | None]]] = [
            ("operand", self._operand),
            ("operator", self._operator),
            ("grown", self._grown),
            ("wrapped", self._wrapped),
            ("shortened", self._shortened),
        ]
        if constants:
            self._changes.append(("constant", self._constant))

    def mutated(self, tree: Node, draw: random.Random) -> tuple[Node, str]:
        """Return a rule with one change, and the change's name; unchanged if none is found."""
        for _ in range(TRIES):
            name, change = draw.choice(self._changes)
            new = change(tree, draw)
            if new is not None and new != tree and self.fits(new):
                return new, name
        return tree, "none"

    def crossed(self, tree: Node, other: Node, draw: random.Random) -> tuple[Node, str]:
        """Return a rule in which a part of another one has taken the place of a part."""
        for _ in range(TRIES):
            path, _ = draw.choice(self.sites(tree))
            _, part = draw.choice(self.sites(other))
            new = replaced(tree, path, part)
            if new not in (tree, other) and self.fits(new):
                return new, "crossover"
        return tree, "none"

    def fits(self, tree: Node) -> bool:
        """Tell whether a tree is typed, holds the gradient, and is not too large."""
        found = extent(tree)
        most: Extent = self.most
        inside = found.nodes <= most.nodes and found.depth <= most.depth
        return inside and kind_of(tree) in ROOTS

    def sites(self, tree: Node) -> list[tuple[Path, Node]]:
        """Return the subtrees that may be exchanged, each with its path, parents first.

        A number that only sets an operator, a clip's bound or an average's weight, is none.
        """
        return [
            (path, node) for path, node in walk(tree) if node in self.operands or kind_of(node) != 0
        ]

    def _operand(self, tree: Node, draw: random.Random) -> Node | None:
        leaves = [(p, n) for p, n in self.sites(tree) if n in self.operands or _leaf(n)]
        path, _ = draw.choice(leaves)
        return replaced(tree, path, draw.choice(self.operands))

    def _operator(self, tree: Node, draw: random.Random) -> Node | None:
        calls = [(p, n) for p, n in self.sites(tree) if isinstance(n, Call)]
        if not calls:
            return None
        path, node = draw.choice(calls)
        ways = []
        for templates in (self.unary, self.binary):
            for template in templates:
                parts = bound(template, node)
                if parts:
                    ways.append((templates, parts))
        if not ways:  # an operator that the language does not have
            assert isinstance(node, Call)
            parts = dict(zip((X, Y), node.arguments, strict=False))
            ways = [(self.unary, parts)] + [(self.binary, parts)] * (len(parts) > 1)
        templates, parts = draw.choice(ways)
        if not templates:
            return None
        new = filled(draw.choice(templates), parts.get(X, node), parts.get(Y))
        return replaced(tree, path, new)

    def _grown(self, tree: Node, draw: random.Random) -> Node | None:
        path, _ = draw.choice(self.sites(tree))
        return replaced(tree, path, self._small(draw))

    def _wrapped(self, tree: Node, draw: random.Random) -> Node | None:
        path, node = draw.choice(self.sites(tree))
        if self.unary and (not self.binary or draw.random() < 0.5):
            return replaced(tree, path, filled(draw.choice(self.unary), node))
        if not self.binary:
            return None
        pair = [node, self._term(draw)]
        draw.shuffle(pair)
        return replaced(tree, path, filled(draw.choice(self.binary), *pair))

    def _shortened(self, tree: Node, draw: random.Random) -> Node | None:
        path, node = draw.choice(self.sites(tree))
        below = [part for inner, part in self.sites(node) if inner]
        return replaced(tree, path, draw.choice(below)) if below else None

    def _constant(self, tree: Node, draw: random.Random) -> Node | None:
        """Multiply a number by 2^a, a normal; of a weight of the past what it lacks to 1."""
        numbers = [(p, n) for p, n in walk(tree) if isinstance(n, Number) and n.value]
        if not numbers:
            return None
        path, number = draw.choice(numbers)
        assert isinstance(number, Number)
        factor = 2.0 ** draw.gauss(0.0, 1.0)
        above = at(tree, path[:-1]) if path else None
        if isinstance(above, Call) and OPERATORS[above.operator].arguments == "vs":
            lacks = min(1.0, max(NEAREST, (1.0 - number.value) * factor))
            value = 1.0 - lacks
        elif isinstance(above, Call) and above.operator == "drop":
            value = min(0.9, number.value * factor)
        else:
            value = number.value * factor
        return replaced(tree, path, Number(float(f"{value:.4g}")))

    def _term(self, draw: random.Random) -> Node:
        """Return an operand, at times under a unary operator."""
        operand = draw.choice(self.operands)
        if self.unary and draw.random() < 0.5:
            return filled(draw.choice(self.unary), operand)
        return operand

    def _small(self, draw: random.Random) -> Node:
        """Return a new part as large as a group of the language."""
        if not self.binary:
            return self._term(draw)
        return filled(draw.choice(self.binary), self._term(draw), self._term(draw))


def _leaf(node: Node) -> bool:
    return not isinstance(node, Call)


def walk(tree: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Yield every subtree with its path, parents before their parts, in the order of the text."""
    yield path, tree
    if isinstance(tree, Call):
        for place, argument in enumerate(tree.arguments):
            yield from walk(argument, (*path, place))
