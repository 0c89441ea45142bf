"""Rules as LaTeX."""

import re
from decimal import Decimal

from dsl.expression import Call, Name, Node, Number
from dsl.operands import BARE, HYPERPARAMETERS, SUGAR
from dsl.operators import OPERATORS, PRECEDENCE, Operator
from dsl.text import format_number, parse

__all__ = ["to_latex"]

_GREEK = frozenset(
    {"alpha", "beta", "gamma", "delta", "eta", "kappa", "lambda", "mu", "nu", "rho", "sigma"}
    | {"tau", "theta", "zeta"}
)

_WORDS = {
    "g": "g_{t}",
    "w": "w_{t}",
    "u": "u_{{{t}-1}}",
    "t": "{t}",
    "m": r"\hat m_{t}",
    "v": r"\hat v_{t}",
    "y": r"\hat y_{t}",
    "adam": r"\mathrm{{Adam}}_{t}",
    "rmsprop": r"\mathrm{{RMSProp}}_{t}",
    "eps": r"\epsilon",
}
"""How names are written; {t} is the step at which they are read."""

_STEPS = "srqpnkjilhodfacbxyzmvABCDEFGHIJKLMNOPQRSUVWXYZ"
"""Letters for the steps over which sums run, the outermost first."""

_RUNNING = ("total", "runmax", "product")

_BINDINGS = {**dict.fromkeys(_RUNNING, 0), "div": 4, "exp": 4, "square": 4, "annealed_noise": 4}
"""How tightly the form of a function binds, if it is not closed on both sides."""

_ATOM = 5

_OPEN = re.compile(r"(?<![({|])\{(\d)\}")
"""Finds a template's argument that no bracket opens."""


def to_latex(text: str) -> str:
    r"""Return a rule as LaTeX for math mode: `u_t = …`, with `aligned` lines if it has any.

    Numbers of declared hyperparameters are given as their defaults.

    Raises:
        RuleError: The text is no rule of the grammar.
    """
    expression = parse(text)
    own = {line.name for line in expression.lines}
    constants = {line.name for line in expression.lines if isinstance(line.value, Number)}
    writer = _Writer(own, constants)
    equations = [(writer.word(line.name), writer.write(line.value)[0]) for line in expression.lines]
    equations.append(("u_t", writer.write(expression.update)[0]))
    if len(equations) == 1:
        return "{} = {}".format(*equations[0])
    rows = r" \\ ".join(f"{left} &= {right}" for left, right in equations)
    return rf"\begin{{aligned}} {rows} \end{{aligned}}"


class _Writer:
    def __init__(self, lines: set[str], constants: set[str]) -> None:
        self.lines = lines
        self.constants = constants
        self.steps = ["t"]
        """The step at which names are read, last, and those around it."""
        self.letters = [letter for letter in _STEPS if letter not in lines] or [*_STEPS]

    def word(self, name: str) -> str:
        """Write a name: operands with their time, Greek letters, trailing digits as indices."""
        if name in _WORDS and name not in self.lines:
            return _WORDS[name].format(t=self.steps[-1])
        stem = name.rstrip("0123456789").rstrip("_") or name
        indices = [name[len(stem) :].lstrip("_")] if name != stem else []
        if name in self.lines and name not in self.constants:
            indices.append(self.steps[-1])
        if stem in _GREEK:
            body = rf"\{stem}"
        elif stem == "eps":
            body = r"\epsilon"
        else:
            body = (
                stem
                if len(stem) == 1 and stem != "_"
                else rf"\mathrm{{{stem}}}".replace("_", r"\_")
            )
        index = ",".join(i for i in indices if i)
        return f"{body}_{{{index}}}" if len(index) > 1 else f"{body}_{index}" if index else body

    def write(self, node: Node) -> tuple[str, int]:
        """Return a node's LaTeX and how tightly it binds."""
        if isinstance(node, Number):
            return _number(node.value)
        if isinstance(node, Name):
            plain = node.name in BARE and node.name not in self.lines
            if plain and node.name not in (*HYPERPARAMETERS, *SUGAR):
                row = OPERATORS[node.name]
                numbers = [_number(value)[0] for value in BARE[node.name]]
                return row.latex.format(*numbers, t=self.steps[-1]), _BINDINGS.get(node.name, _ATOM)
            return self.word(node.name), _ATOM
        return self.call(node)

    def call(self, node: Call) -> tuple[str, int]:
        row = OPERATORS[node.operator]
        if row.name in _RUNNING:
            return self.running(row, node.arguments[0])
        written = [self.write(argument) for argument in node.arguments]
        if row.name == "neg":
            return f"-{_bracket(written[0], 3)}", 3
        if row.symbol in ("+", "-", "*"):
            own = PRECEDENCE[row.symbol]
            left = _bracket(written[0], own)
            right = _bracket(written[1], 4 if written[1][1] == 3 else own + 1)
            if row.symbol == "*" and right[0].isdigit():
                return rf"{left} \cdot {right}", own
            return row.latex.format(left, right), own
        exposed = set() if row.name == "where" else {int(i) for i in _OPEN.findall(row.latex)}
        filled = [_bracket(w, _ATOM if i in exposed else 0) for i, w in enumerate(written)]
        latex = row.latex.format(*filled, t=self.steps[-1])
        return latex, 4 if row.symbol else _BINDINGS.get(row.name, _ATOM)

    def running(self, row: Operator, argument: Node) -> tuple[str, int]:
        """Write an operator over the steps so far, its argument at each of them."""
        until = self.steps[-1]
        step = self.letters[min(len(self.steps), len(self.letters)) - 1]
        self.steps.append(step)
        written = _bracket(self.write(argument), PRECEDENCE["*"])
        self.steps.pop()
        return row.latex.format(written, s=step, t=until), _BINDINGS[row.name]


def _number(value: float) -> tuple[str, int]:
    binding = 3 if value < 0 else _ATOM
    mantissa, _, exponent = format_number(value).partition("e")
    if mantissa.lstrip("-").startswith("0.000"):  # 0.0001 reads better as 10^-4
        mantissa, _, exponent = f"{Decimal(mantissa).normalize():e}".partition("e")
    if not exponent:
        return mantissa, binding
    power = f"10^{{{int(exponent)}}}"
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-")
    return (f"{sign}{power}" if digits == "1" else rf"{mantissa} \cdot {power}"), min(binding, 4)


def _bracket(written: tuple[str, int], least: int) -> str:
    text, binding = written
    return text if binding >= least else rf"\left({text}\right)"
