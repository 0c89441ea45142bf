"""Text to tree and back.

Grammar (a rule has at most 4096 characters; lines end at a newline or `;` outside parentheses):

    rule    = { name "=" sum } sum
    sum     = product { ("+" | "-") product }
    product = unary { ("*" | "/") unary }
    unary   = "-" unary | power
    power   = atom [ "^" unary ]
    atom    = number | name | name "(" sum { "," sum } ")" | "(" sum ")"
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from dsl.errors import RuleError, nearest
from dsl.expression import Call, Expression, Line, Name, Node, Number
from dsl.operators import INFIX, OPERATORS, PRECEDENCE

__all__ = [
    "FUNCTIONS",
    "LARGEST",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_NAME",
    "MAX_NODES",
    "format_node",
    "format_number",
    "format_rule",
    "parse",
]

MAX_LENGTH = 4096
"""Characters of a rule, as given and as formatted."""
MAX_NODES = 256
"""Nodes of a rule, over all lines."""
MAX_DEPTH = 32
"""Nested levels of one line, and of the update with all its lines read in."""
MAX_NAME = 32
"""Characters of a name."""
LARGEST = 3.4028234663852886e38
"""The largest number of float32, in which rules are trained: beyond it numbers are infinite there,
and torch refuses to write them into tensors as they are."""

FUNCTIONS = [row.name for row in OPERATORS.values() if not row.symbol and row.name != "neg"]
"""Operators that are written as a name."""

_UNARY = 3
_ATOM = 5
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<symbol>[-+*/^(),=])|(?P<end>[\n;])|(?P<space>[ \t\r]+)"
)


_BROKEN = re.compile(r"[_.]|[eE]$|[xX][0-9]")
"""Begins what follows the digits of a number that is written wrongly."""


_LONGER = 26
"""Characters by which formatting lengthens a rule for each of its nodes, at most."""


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def parse(text: str) -> Expression:
    """Parse a rule's text.

    Raises:
        RuleError: The text is no rule of the grammar, or breaks its bounds.
    """
    if len(text) > MAX_LENGTH:
        raise RuleError(
            f"A rule has at most {MAX_LENGTH} characters, this one has {len(text)}",
            text[:MAX_LENGTH],
            MAX_LENGTH,
        )
    parser = _Parser(text)
    expression = parser.rule()
    most = len(text) + parser.count * _LONGER
    if most > MAX_LENGTH and len(format_rule(expression)) > MAX_LENGTH:
        raise RuleError(f"The rule takes more than {MAX_LENGTH} characters when formatted", text)
    return expression


def format_rule(expression: Expression) -> str:
    """Write a rule as text: one line each, one space around infix symbols."""
    lines = [f"{line.name} = {format_node(line.value)}" for line in expression.lines]
    return "\n".join([*lines, format_node(expression.update)])


def format_node(node: Node) -> str:
    """Write one node as text."""
    return _format(node)[0]


def format_number(value: float) -> str:
    """Write a number in its shortest exact form."""
    written = repr(value)
    return written.removesuffix(".0")


def _format(node: Node) -> tuple[str, int]:
    """Return the node's text and how tightly it binds."""
    if isinstance(node, Number):
        negative = math.copysign(1.0, node.value) < 0
        return format_number(node.value), _UNARY if negative else _ATOM
    if isinstance(node, Name):
        return node.name, _ATOM
    row = OPERATORS[node.operator]
    if row.name == "neg":
        return f"-{_bracket(node.arguments[0], _UNARY)}", _UNARY
    if row.symbol:
        left, right = node.arguments
        own = PRECEDENCE[row.symbol]
        power = row.symbol == "^"
        first = _bracket(left, own + 1 if power else own)
        second = _bracket(right, own if power else own + 1)
        return f"{first} {row.symbol} {second}", own
    return f"{node.operator}({', '.join(format_node(a) for a in node.arguments)})", _ATOM


def _bracket(node: Node, least: int) -> str:
    text, binding = _format(node)
    return text if binding >= least else f"({text})"


def _tokens(text: str) -> list[_Token]:
    """Cut the text into tokens, dropping spaces, and newlines inside parentheses."""
    tokens: list[_Token] = []
    position, nesting = 0, 0
    for match in _TOKEN.finditer(text):
        if match.start() > position:
            break
        position = match.end()
        kind = match.lastgroup
        if kind == "space":
            continue
        found = match.group()
        if kind == "symbol":
            nesting += (found == "(") - (found == ")")
        if kind != "end" or nesting <= 0:
            tokens.append(_Token(kind or "", found, match.start()))
    if position < len(text):
        hint = "Rules are written in ASCII: + - * / ^ ( ) , = and names." * (
            not text[position].isascii()
        )
        raise RuleError(f"Unexpected character {text[position]!r}", text, position, hint)
    tokens.append(_Token("stop", "", len(text)))
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.index = 0
        self.count = 0
        self.nesting = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def fail(self, message: str, position: int | None = None, hint: str = "") -> NoReturn:
        at = self.token.position if position is None else position
        raise RuleError(message, self.text, at, hint)

    def take(self, symbol: str) -> bool:
        if self.token.text == symbol and self.token.kind == "symbol":
            self.index += 1
            return True
        return False

    def node(self, node: Node) -> Node:
        self.count += 1
        if self.count > MAX_NODES:
            self.fail(f"A rule has at most {MAX_NODES} numbers, names and operators", node.position)
        if node.depth > MAX_DEPTH:
            hint = "Every term of a long sum or product is a level: group them, (a + b) + (c + d)."
            self.fail(f"A rule is at most {MAX_DEPTH} levels deep", node.position, hint)
        return node

    def skip_ends(self) -> None:
        while self.token.kind == "end":
            self.index += 1

    def rule(self) -> Expression:
        lines: list[Line] = []
        self.skip_ends()
        if self.token.kind == "stop":
            self.fail("The rule is empty", hint="The shortest rule is 'g', gradient descent.")
        while self.tokens[min(self.index + 1, len(self.tokens) - 1)].text == "=":
            lines.append(self.line())
            self.skip_ends()
        if self.token.kind == "stop":
            self.fail(
                "The update is missing: the last line has no name",
                hint=f"Add a last line with the update, say '{lines[-1].name}'.",
            )
        update = self.sum()
        if self.token.kind not in ("end", "stop"):
            self.unexpected()
        self.skip_ends()
        if self.token.text == ")":
            self.after_operand(self.token)
        if self.token.kind != "stop":
            hint = "Only the last line has no name; name the others: 'a = …'."
            self.fail("There is more after the update", hint=hint)
        return Expression(tuple(lines), update, self.text)

    def line(self) -> Line:
        name = self.token
        if name.kind != "name":
            self.fail(f"A line's name is a word, not '{name.text}'")
        self.index += 2
        self.bound_name(name)
        value = self.sum()
        if self.token.kind not in ("end", "stop"):
            self.unexpected()
        return Line(name.text, value, name.position)

    def bound_name(self, token: _Token) -> None:
        if len(token.text) > MAX_NAME:
            self.fail(f"A name has at most {MAX_NAME} characters", token.position)

    def sum(self) -> Node:
        node = self.product()
        while self.token.text in ("+", "-"):
            node = self.infix(node, self.product)
        return node

    def product(self) -> Node:
        node = self.unary()
        while self.token.text in ("*", "/"):
            node = self.infix(node, self.unary)
        return node

    def infix(self, left: Node, operand: Callable[[], Node]) -> Node:
        symbol = self.token
        self.index += 1
        if symbol.text == "*" and self.token.text == "*":
            self.fail("'**' is no operator", symbol.position, "Powers are written 'x ^ y'.")
        return self.node(Call(INFIX[symbol.text].name, (left, operand()), symbol.position))

    def unary(self) -> Node:
        start = self.token.position
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            self.fail(f"A rule is at most {MAX_DEPTH} levels deep")
        try:
            if not self.take("-"):
                return self.power()
            inner = self.unary()
            if isinstance(inner, Number):
                return Number(-inner.value, start)
            return self.node(Call("neg", (inner,), start))
        finally:
            self.nesting -= 1

    def power(self) -> Node:
        base = self.atom()
        if self.token.text != "^":
            return base
        return self.infix(base, self.unary)

    def atom(self) -> Node:
        token = self.token
        self.index += 1
        if token.kind == "number":
            return self.node(self.number(token))
        if token.kind == "name":
            self.bound_name(token)
            if self.take("("):
                return self.node(self.call(token))
            return self.node(Name(token.text, token.position))
        if token.kind == "symbol" and token.text == "(":
            inner = self.sum()
            self.close(token)
            return inner
        self.index -= 1
        self.unexpected()

    def number(self, token: _Token) -> Number:
        value = float(token.text)
        if math.isinf(value):
            self.fail(f"The number {token.text} is too large", token.position)
        if value == 0 and re.match("[0.]*[1-9]", token.text):
            hint = "The smallest is 5e-324; write 0 if you mean it."
            self.fail(
                f"The number {token.text} is too small: it is read as 0", token.position, hint
            )
        return Number(value, token.position)

    def call(self, name: _Token) -> Call:
        row = OPERATORS.get(name.text)
        if row is None or row.name not in FUNCTIONS:
            self.fail(
                f"Unknown function '{name.text}'", name.position, nearest(name.text, FUNCTIONS)
            )
        if row.arity == 0:
            self.fail(f"'{row.name}' takes no arguments", name.position, f"Write '{row.name}'.")
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        self.close(name)
        if len(arguments) != row.arity:
            self.fail(
                f"'{row.name}' takes {row.arity} argument{'s' * (row.arity > 1)}, "
                f"not {len(arguments)}",
                name.position,
                f"{row.name}: {row.meaning}.",
            )
        return Call(row.name, tuple(arguments), name.position)

    def close(self, opening: _Token) -> None:
        if self.token.kind == "stop":
            self.fail("A parenthesis is never closed", opening.position)
        if not self.take(")"):
            self.unexpected()

    def unexpected(self) -> NoReturn:
        token = self.token
        if token.kind == "stop":
            self.fail("The rule ends too early", hint="A name, a number or '(' is missing.")
        before = self.tokens[max(self.index - 1, 0)]
        if before.kind in ("name", "number") or before.text == ")":
            self.after_operand(before)
        found = "the end of the line" if token.kind == "end" else f"'{token.text}'"
        self.fail(f"Unexpected {found}")

    def after_operand(self, before: _Token) -> None:
        """Say what is wrong with a token that stands where an operator should, if that is known."""
        token = self.token
        word = token.kind in ("name", "number")
        adjacent = before.position + len(before.text) == token.position
        if token.text == ")":
            self.fail("This parenthesis was never opened", hint="Remove it, or open one before it.")
        if before.kind == "number" and word and adjacent and _BROKEN.match(token.text):
            hint = "Numbers are written 1000, 0.001 or 1e-3."
            self.fail(f"'{before.text}{token.text}' is no number", before.position, hint)
        if before.text in FUNCTIONS and word and OPERATORS[before.text].arity:
            row = OPERATORS[before.text]
            hint = f"{row.name}: {row.meaning}."
            self.fail(f"'{row.name}' takes its arguments in parentheses", before.position, hint)
        if word or token.text == "(":
            hint = "Products are written with '*', as in '2 * g'."
            self.fail(f"An operator is missing before '{token.text}'", hint=hint)
