"""The canonical form: one text for all rules that are the same up to algebra.

Lines are read in and given again only for what is used twice, defaults are written only where
they differ from the well-known ones, averages are written by their sugar names.
"""

import hashlib
import string
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import count

from dsl.algebra import Normalizer
from dsl.errors import RuleError
from dsl.expression import Call, Expression, Line, Name, Node, Number, nodes
from dsl.operands import BARE, HYPERPARAMETERS, OPERANDS, SUGAR
from dsl.operators import OPERATORS
from dsl.program import Graph, resolve
from dsl.text import MAX_DEPTH, MAX_NODES, format_rule, parse

__all__ = ["canonical", "canonical_text", "rule_id"]

_SMALL = 3
"""Values of up to this many nodes are written again rather than given a line."""


def canonical(expression: Expression) -> Expression:
    """Return the canonical form of a rule; that of a canonical form is itself.

    A rule so large that its canonical form breaks the language's bounds is its own form.

    Raises:
        RuleError: Names or kinds of arguments are wrong (see `dsl.program.resolve`).
    """
    program = resolve(expression)
    prepared, sugar = _prepared()
    normalizer = prepared.copy()
    update = normalizer.settle(normalizer.run(program))
    graph = normalizer.graph
    reached = graph.reachable(update)
    if len(reached) > MAX_NODES or graph.depths[update] > MAX_DEPTH:
        return expression
    used = {graph.values[i].name for i in reached} & set(program.hyperparameters)
    defaults = {name: program.hyperparameters[name] for name in sorted(used)}
    found = _Writer(graph, sugar, defaults).write(update)
    try:
        return parse(format_rule(found))
    except RuleError:
        return expression


@lru_cache(maxsize=65536)
def canonical_text(text: str) -> str:
    """Return the canonical form of a rule's text.

    Raises:
        RuleError: The text is no rule.
    """
    return format_rule(canonical(parse(text)))


def rule_id(text: str) -> str:
    """Return the rule's name for machines: 12 hexadecimal digits of its canonical text's hash."""
    return hashlib.sha256(canonical_text(text).encode()).hexdigest()[:12]


@cache
def _prepared() -> tuple[Normalizer, dict[int, str]]:
    """Return a normalizer that knows the sugar, and the names of its values; for copying."""
    normalizer = Normalizer()
    return normalizer, {normalizer.run(resolve(parse(name))): name for name in SUGAR}


@cache
def _names_of(sugar: str) -> frozenset[str]:
    """Return the names that must mean what they always mean for the sugar to mean that too."""
    found = {node.name for node in nodes(parse(SUGAR[sugar])) if isinstance(node, Name)}
    return frozenset({sugar, *(found & set(SUGAR))})


class _Writer:
    """Writes a value graph as an expression."""

    def __init__(self, graph: Graph, sugar: dict[int, str], defaults: dict[str, float]) -> None:
        self.graph = graph
        self.sugar = {i: n for i, n in sugar.items() if not _names_of(n) & set(defaults)}
        self.defaults = defaults
        self.lines: list[Line] = []
        self.nodes: dict[int, Node] = {}

    def write(self, update: int) -> Expression:
        declared = [
            Line(name, Number(value))
            for name, value in self.defaults.items()
            if repr(HYPERPARAMETERS.get(name)) != repr(value)
        ]
        names = _fresh_names(set(self.defaults))
        order = self.visited(update)
        uses = Counter(
            a for i in order if i not in self.sugar for a in self.graph.values[i].arguments
        )
        sizes: dict[int, int] = {}
        for index in order:
            node, size = (
                self.node(index),
                1
                + sum(
                    sizes[a] for a in self.graph.values[index].arguments if index not in self.sugar
                ),
            )
            if uses[index] > 1 and size > _SMALL and isinstance(node, Call):
                name = next(names)
                self.lines.append(Line(name, node))
                node, size = Name(name), 1
            self.nodes[index], sizes[index] = node, size
        return Expression((*declared, *self.lines), self.nodes[update])

    def visited(self, update: int) -> list[int]:
        """Return the values to write, arguments first, in the order in which they are read."""
        order: list[int] = []
        seen: set[int] = set()
        stack = [(update, False)]
        while stack:
            index, done = stack.pop()
            if done:
                order.append(index)
            elif index not in seen:
                seen.add(index)
                stack.append((index, True))
                if index not in self.sugar:
                    stack.extend((a, False) for a in reversed(self.graph.values[index].arguments))
        return order

    def node(self, index: int) -> Node:
        if index in self.sugar:
            return Name(self.sugar[index])
        value = self.graph.values[index]
        if value.operator == "number":
            return Number(value.literal)
        if value.operator == "name":
            return Name(value.name)
        literals = tuple(self.graph.literal(a) for a in value.arguments)
        if BARE.get(value.operator) == literals:
            return Name(value.operator)
        return Call(value.operator, tuple(self.nodes[a] for a in value.arguments))


def _fresh_names(taken: set[str]) -> Iterator[str]:
    reserved = {*taken, *HYPERPARAMETERS, *OPERANDS, *SUGAR, *OPERATORS, *BARE, "e"}
    for number in count():
        for letter in string.ascii_lowercase:
            name = f"{letter}{number or ''}"
            if name not in reserved:
                yield name
