"""The tree that a rule's text is parsed to.

Nodes are immutable and compare by what they say; `position`, the character in the source text,
takes no part in that.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Call", "Expression", "Line", "Name", "Node", "Number", "nodes"]


@dataclass(frozen=True, slots=True)
class Number:
    """A literal, always finite."""

    value: float
    position: int = field(default=0, compare=False, repr=False)

    @property
    def depth(self) -> int:
        """Levels of the tree below and including this node."""
        return 1


@dataclass(frozen=True, slots=True)
class Name:
    """An operand, a hyperparameter, or a line's name."""

    name: str
    position: int = field(default=0, compare=False, repr=False)

    @property
    def depth(self) -> int:
        """Levels of the tree below and including this node."""
        return 1


@dataclass(frozen=True, slots=True)
class Call:
    """An operator (a row of `operators.OPERATORS`) applied to arguments."""

    operator: str
    arguments: tuple["Node", ...]
    position: int = field(default=0, compare=False, repr=False)
    depth: int = field(init=False, compare=False, repr=False)
    """Levels of the tree below and including this node."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max(a.depth for a in self.arguments))


Node = Number | Name | Call


@dataclass(frozen=True, slots=True)
class Line:
    """`name = value`: a hyperparameter's default if the value is a number, else an abbreviation."""

    name: str
    value: Node
    position: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Expression:
    """A rule: its named lines, then the update u of w ← w - lr·u."""

    lines: tuple[Line, ...]
    update: Node
    text: str = field(default="", compare=False, repr=False)
    """The source text, for messages."""


def nodes(expression: Expression) -> Iterator[Node]:
    """Yield every node of every line, then of the update, parents before children."""
    stack = [expression.update, *(line.value for line in reversed(expression.lines))]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Call):
            stack.extend(reversed(node.arguments))
