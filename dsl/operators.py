"""The operator table: one row says all that is known of an operator.

The parser reads names, symbols and arities from it, the checker the kinds of arguments, the
compiler and the exporter the code templates, LaTeX its templates. A new operator is one row here
and its NumPy oracle in the tests.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["INFIX", "OPERATORS", "PRECEDENCE", "Kind", "Operator"]


class Kind(StrEnum):
    """How an operator computes."""

    POINTWISE = "pointwise"
    REDUCTION = "reduction"
    """One number per tensor of the model, broadcast back."""
    STATE = "state"
    """Keeps a slot: a tensor shaped like the weights, updated at every step."""
    DEBIAS = "debias"
    """Divides a moving average by the weight it has gathered so far."""
    RANDOM = "random"
    TIME = "time"
    """A scalar that depends on the step t (clamped to T) and the total T."""


PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}
"""Of the infix symbols; 3 is unary minus, 5 whatever needs no parentheses. As in Python."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the table.

    Templates take the arguments as `{0}`, `{1}`; those of infix operators are their symbol. In
    tensor templates `{slot}` is the state, `{complement}` is 1 minus the second argument (rounded
    once, from float64), `{index}` the number of the random draw in the rule. In LaTeX `{t}` is the
    step at which the value is read, `{s}` the step over which a sum over the past runs.
    """

    name: str
    arguments: str
    """One letter each: x anything, s scalar (numbers, hyperparameters, time), v a tensor."""
    kind: Kind
    latex: str
    tensor: str = ""
    scalar: str = ""
    mixed: str = ""
    """Tensor template when the second argument is a scalar, where it must differ."""
    symbol: str = ""
    commutative: bool = False
    initial: float = 0.0
    """What a slot holds before the first step."""
    late: bool = False
    """The slot is read first and written after all else: it gives the last step's value."""
    meaning: str = ""

    @property
    def arity(self) -> int:
        """Number of arguments."""
        return len(self.arguments)


def _function(name: str, latex: str, meaning: str, scalar: str = "") -> Operator:
    scalar = scalar or f"{name}({{0}})"
    return Operator(
        name, "x", Kind.POINTWISE, latex, f"torch.{name}({{0}})", scalar, meaning=meaning
    )


def _infix(name: str, symbol: str, latex: str, *, commutative: bool = False) -> Operator:
    python = "**" if symbol == "^" else symbol
    return Operator(
        name, "xx", Kind.POINTWISE, latex, python, python, symbol=symbol, commutative=commutative
    )


def _reduction(name: str, latex: str, meaning: str) -> Operator:
    return Operator(name, "v", Kind.REDUCTION, latex, f"{name}({{0}})", meaning=meaning)


def _time(name: str, arguments: str, latex: str, scalar: str, meaning: str) -> Operator:
    return Operator(name, arguments, Kind.TIME, latex, scalar=scalar, meaning=meaning)


_ROWS = (
    _infix("add", "+", "{0} + {1}", commutative=True),
    _infix("sub", "-", "{0} - {1}"),
    _infix("mul", "*", r"{0} \, {1}", commutative=True),
    _infix("div", "/", r"\frac{{{0}}}{{{1}}}"),
    _infix("pow", "^", "{0}^{{{1}}}"),
    Operator("neg", "x", Kind.POINTWISE, "-{0}", "-", "-", meaning="-x"),
    _function("exp", r"e^{{{0}}}", "e to the x"),
    _function("log", r"\ln\left({0}\right)", "natural logarithm"),
    _function("sqrt", r"\sqrt{{{0}}}", "square root"),
    _function("abs", r"\left|{0}\right|", "absolute value"),
    _function("sign", r"\operatorname{{sign}}\left({0}\right)", "-1, 0 or 1"),
    _function("square", r"\left({0}\right)^2", "x times x", "{0} * {0}"),
    Operator(
        "clip", "xx", Kind.POINTWISE, r"\operatorname{{clip}}_{{{1}}}\left({0}\right)",
        "torch.clamp({0}, -{1}, {1})", "max(-{1}, min({0}, {1}))",
        meaning="x clamped to [-c, c]",
    ),
    Operator(
        "min", "xx", Kind.POINTWISE, r"\min\left({0}, {1}\right)", "torch.minimum({0}, {1})",
        "min({0}, {1})", "torch.clamp({0}, max={1})", commutative=True,
        meaning="the smaller",
    ),
    Operator(
        "max", "xx", Kind.POINTWISE, r"\max\left({0}, {1}\right)", "torch.maximum({0}, {1})",
        "max({0}, {1})", "torch.clamp({0}, min={1})", commutative=True,
        meaning="the larger",
    ),
    Operator(
        "where", "xxx", Kind.POINTWISE,
        r"\begin{{cases}}{1} & {0} > 0\\{2} & \text{{else}}\end{{cases}}",
        "torch.where({0} > 0, {1}, {2})", "where({0} > 0, {1}, {2})",
        meaning="x where c > 0, else y",
    ),
    _reduction("norm", r"\left\|{0}\right\|", "Euclidean norm of each tensor"),
    _reduction("mean", r"\operatorname{{mean}}\left({0}\right)", "mean of each tensor"),
    _reduction("rms", r"\operatorname{{rms}}\left({0}\right)", "root mean square of each tensor"),
    Operator(
        "ema", "vs", Kind.STATE, r"\operatorname{{ema}}_{{{1}}}\left({0}\right)",
        "{slot}.lerp_({0}, {complement})",
        meaning="s = beta s + (1 - beta) x, from 0",
    ),
    Operator(
        "trace", "vs", Kind.STATE, r"\operatorname{{trace}}_{{{1}}}\left({0}\right)",
        "{slot}.mul_({1}).add_({0})",
        meaning="s = mu s + x, from 0",
    ),
    Operator(
        "total", "v", Kind.STATE, r"\textstyle\sum_{{{s} \le {t}}} {0}", "{slot}.add_({0})",
        meaning="sum over the steps so far",
    ),
    Operator(
        "runmax", "v", Kind.STATE, r"\max_{{{s} \le {t}}} {0}",
        "torch.maximum({slot}, {0}, out={slot})", initial=float("-inf"),
        meaning="largest over the steps so far",
    ),
    Operator(
        "yogi", "vs", Kind.STATE, r"\operatorname{{yogi}}_{{{1}}}\left({0}\right)",
        "{slot}.add_({complement} * torch.sign(({0}) - {slot}) * ({0}))", initial=1e-6,
        meaning="s = s + (1 - beta) sign(x - s) x, from 1e-6 (Zaheer et al. 2018)",
    ),
    Operator(
        "prev", "v", Kind.STATE, r"\left({0}\right)_{{{t}-1}}", "{slot}.copy_({0})", late=True,
        meaning="the last step's x, 0 at first",
    ),
    Operator(
        "debias", "v", Kind.DEBIAS, r"\widehat{{{0}}}",
        meaning="a moving average over its weight, 1 - prod beta",
    ),
    Operator(
        "drop", "xs", Kind.RANDOM, r"\operatorname{{drop}}_{{{1}}}\left({0}\right)",
        "torch.where(uniform(draw, {index}, g) < {1}, 0.0, {0})",
        meaning="0 with probability p, else x, not rescaled",
    ),
    Operator(
        "noise", "s", Kind.RANDOM, r"\mathcal{{N}}\left(0, {0}^2\right)",
        "normal(draw, {index}, g) * {0}",
        meaning="normal with mean 0 and standard deviation std",
    ),
    _time("ld", "", r"\left(1 - \tfrac {t}T\right)", "1.0 - now / T", "linear decay, 1 - t/T"),
    _time(
        "cd", "s", r"\operatorname{{cd}}_{{{0}}}({t})",
        "0.5 * (1.0 + cos(2.0 * pi * {0} * now / T))",
        "cyclic decay, (1 + cos(2 pi n t/T))/2",
    ),
    _time(
        "rd", "s", r"\operatorname{{rd}}_{{{0}}}({t})",
        "0.5 * (1.0 + cos(pi * ((now * {0}) % T) / T)) * (now < T)",
        "restart decay, (1 + cos(pi ((t n) mod T)/T))/2, 0 at T",
    ),
    _time(
        "demon", "s", r"\operatorname{{demon}}_{t}\left({0}\right)",
        "{0} * (1.0 - now / T) / (1.0 - {0} * now / T)",
        "decaying momentum, beta (1 - t/T) / ((1 - beta) + beta (1 - t/T))",
    ),
    _time(
        "product", "s", r"\textstyle\prod_{{{s} \le {t}}} {0}", "",
        "product over the steps so far of a scalar that may change with t",
    ),
    _time(
        "annealed_noise", "", r"(1 + {t})^{{-0.275}}", "(1.0 + now) ** -0.275",
        "a standard deviation with variance (1 + t)^-0.55",
    ),
)  # fmt: skip

OPERATORS: dict[str, Operator] = {row.name: row for row in _ROWS}
"""All operators by name; infix ones by the name that the tree uses for them."""

INFIX: dict[str, Operator] = {row.symbol: row for row in _ROWS if row.symbol}
"""Infix operators by symbol."""
