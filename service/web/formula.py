"""Rules as formulas: MathML, which browsers set themselves, so no script and no fonts are loaded.

MathML Core: https://www.w3.org/TR/mathml-core/
"""

from collections.abc import Callable
from functools import lru_cache
from math import floor, log10
from re import fullmatch

from markupsafe import Markup, escape

from dsl.errors import RuleError
from dsl.expression import Call, Expression, Name, Node, Number
from dsl.operands import OPERANDS
from dsl.text import parse

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "eps": "ε",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "rho": "ρ",
}

SUM, PRODUCT, SIGN, POWER, ATOM = 1, 2, 3, 4, 5
"""How tightly a piece binds; a piece in a tighter place than its own gets parentheses."""

APPLY, TIMES = "\N{FUNCTION APPLICATION}", "\N{INVISIBLE TIMES}"
MINUS = "\N{MINUS SIGN}"
HAT = "&#x302;"
"""The combining circumflex: the one that stretches over a word."""

Piece = tuple[str, int]


@lru_cache(maxsize=8192)
def formula(text: str, display: bool = False) -> Markup:
    """Return a rule's formula as MathML.

    Args:
        text: Rule text. One that this version cannot parse is shown as it is.
        display: Set `u = …` on a line of its own, with the rule's named lines below; else the
            update alone, and then what its names stand for.
    """
    try:
        expression = parse(text)
    except RuleError:
        return Markup('<code class="rule">{}</code>').format(text)
    update = _set(expression.update)[0]
    if display:
        update = _table(expression, update)
        return Markup(f'<math display="block">{_row(update)}</math>')  # noqa: S704
    lines = [f"<math>{line}</math>" for line in lines_of(expression)]
    where = f' <span class="where">where {", ".join(lines)}</span>' if lines else ""
    return Markup(f"<math>{_row(update)}</math>{where}")  # noqa: S704  (built of escaped pieces)


def pieces_of(node: Node) -> list[str]:
    """Return a formula as pieces of MathML, of which all but the first begin with a sign."""
    if not isinstance(node, Call) or node.operator not in ("add", "sub"):
        return [_row(_set(node)[0])]
    left, right = node.arguments
    sign, place = ("+", SUM) if node.operator == "add" else (MINUS, PRODUCT)
    infix = f'<mo form="infix">{sign}</mo>'
    if node.operator == "add" and not _starts_with_minus(right):
        first, *rest = pieces_of(right)
    else:
        first, rest = _unsigned(right, _within(right, place)), []
    return [*pieces_of(left), _row(infix, first), *rest]


def lines_of(expression: Expression) -> list[str]:
    """Return what a rule's names stand for, each a piece of MathML."""
    return [_row(_name(line.name), _mo("="), _set(line.value)[0]) for line in expression.lines]


def symbol(name: str) -> Markup:
    """Return a hyperparameter's name as it stands in formulas."""
    return Markup(f"<math>{_name(name)}</math>")  # noqa: S704  (built of escaped pieces)


def _table(expression: Expression, update: str) -> str:
    rows = [_equation("<mi>u</mi>", update)]
    rows += [_equation(_name(line.name), _set(line.value)[0]) for line in expression.lines]
    return f'<mtable columnalign="right left" displaystyle="true">{"".join(rows)}</mtable>'


def _equation(left: str, right: str) -> str:
    return f'<mtr><mtd class="left">{left}</mtd><mtd class="right">{_mo("=")}{right}</mtd></mtr>'


def _set(node: Node) -> Piece:
    if isinstance(node, Number):
        return _number(node.value)
    if isinstance(node, Name):
        return _name(node.name), ATOM
    setter = _SETTERS.get(node.operator)
    if setter is not None:
        return setter(node)
    return _function(node.operator, *node.arguments), ATOM


def _number(value: float) -> Piece:
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size != 0 and (size < 1e-3 or size >= 1e6):
        exponent = floor(log10(size))
        mantissa = f"{size / 10.0**exponent:.6g}"
        power = _power("<mn>10</mn>", _row(_signed(str(exponent))))
        body = power if mantissa == "1" else _row(f"<mn>{mantissa}</mn>", _mo("×"), power)
        return (_row(_mo(MINUS), body), SIGN) if sign else (body, PRODUCT)
    text = f"<mn>{size:.10g}</mn>"
    return (_row(_mo(MINUS), text), SIGN) if sign else (text, ATOM)


def _signed(text: str) -> str:
    return f"<mrow>{_mo(MINUS)}<mn>{text[1:]}</mn></mrow>" if text[0] == "-" else f"<mn>{text}</mn>"


def _name(name: str) -> str:
    match = fullmatch(r"([A-Za-z]+?)_?(\d*)", name)
    stem, index = match.groups() if match else (name, "")
    stem = GREEK.get(stem, stem)
    upright = "" if len(stem) == 1 or name in OPERANDS else ' class="word"'
    letter = f"<mi{upright}>{escape(stem)}</mi>"
    return f"<msub>{letter}<mn>{index}</mn></msub>" if index else letter


def _mo(sign: str, stretchy: bool = True) -> str:
    return f"<mo>{sign}</mo>" if stretchy else f'<mo stretchy="false">{sign}</mo>'


def _space() -> str:
    return '<mspace width="0.2em"></mspace>'


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _power(base: str, exponent: str) -> str:
    return f"<msup>{base}{exponent}</msup>"


def _within(node: Node, place: int) -> str:
    body, own = _set(node)
    return _row(_mo("("), body, _mo(")")) if own < place else body


def _function(name: str, *arguments: Node, index: Node | None = None, hat: bool = False) -> str:
    word = f'<mi class="word">{escape(name)}</mi>'
    if hat:
        word = f'<mover accent="true">{word}<mo>{HAT}</mo></mover>'
    if index is not None:
        word = f"<msub>{word}{_row(_set(index)[0])}</msub>"
    inner = _mo(",").join(_set(argument)[0] for argument in arguments)
    tall = any(tag in inner for tag in _TALL)
    return _row(word, _mo(APPLY), _mo("(", tall), inner, _mo(")", tall))


_TALL = ("<mfrac>", "<msqrt>", "<munder>", "<mtable")
"""What parentheses grow with: those round indices and powers stay small, as in print."""


def _infix(sign: str, place: int, right: int) -> Callable[[Call], Piece]:
    def setter(node: Call) -> Piece:
        left, second = node.arguments
        # Two signs in a row are hard to read: a second one is fenced off.
        inner = _unsigned(second, _within(second, right))
        return _row(_within(left, place), _mo(sign), inner), place

    return setter


def _unsigned(node: Node, body: str) -> str:
    if _starts_with_minus(node) and not body.startswith(_OPEN):
        return _row(_mo("("), body, _mo(")"))
    return body


_OPEN = "<mrow><mo>(</mo>"


def _starts_with_minus(node: Node) -> bool:
    while isinstance(node, Call) and node.operator in ("add", "sub", "mul"):
        node = node.arguments[0]
    if isinstance(node, Call):
        return node.operator == "neg"
    return isinstance(node, Number) and node.value < 0


def _product(node: Call) -> Piece:
    left, right = (_within(argument, PRODUCT) for argument in node.arguments)
    right = _unsigned(node.arguments[1], right)
    if isinstance(node.arguments[1], Number):
        return _row(left, _mo("·"), right), PRODUCT
    return _row(left, _mo(TIMES), _space(), right), PRODUCT


def _fraction(node: Call) -> Piece:
    top, bottom = (_set(argument)[0] for argument in node.arguments)
    # A fraction shows its own grouping, but not as the base of a power.
    return f"<mfrac>{_row(top)}{_row(bottom)}</mfrac>", POWER


def _raised(node: Call) -> Piece:
    base, exponent = node.arguments
    return _power(_row(_within(base, ATOM)), _row(_set(exponent)[0])), POWER


def _square(node: Call) -> Piece:
    return _power(_row(_within(node.arguments[0], ATOM)), "<mn>2</mn>"), POWER


def _exponential(node: Call) -> Piece:
    return _power("<mi>e</mi>", _row(_set(node.arguments[0])[0])), POWER


def _negative(node: Call) -> Piece:
    return _row(_mo(MINUS), _within(node.arguments[0], PRODUCT)), PRODUCT


def _fenced(left: str, right: str) -> Callable[[Call], Piece]:
    def setter(node: Call) -> Piece:
        return _row(_mo(left), _set(node.arguments[0])[0], _mo(right)), ATOM

    return setter


def _indexed(name: str) -> Callable[[Call], Piece]:
    def setter(node: Call) -> Piece:
        return _function(name, node.arguments[0], index=node.arguments[1]), ATOM

    return setter


def _of_time(name: str) -> Callable[[Call], Piece]:
    def setter(node: Call) -> Piece:
        return _function(name, Name("t"), index=node.arguments[0]), ATOM

    return setter


def _running(sign: str) -> Callable[[Call], Piece]:
    bound = _row("<mi>s</mi>", _mo("≤"), "<mi>t</mi>")

    def setter(node: Call) -> Piece:
        body = _within(node.arguments[0], PRODUCT)
        return _row(f"<munder>{sign}{bound}</munder>", _space(), body), PRODUCT

    return setter


def _previous(node: Call) -> Piece:
    body = _row(_within(node.arguments[0], ATOM))
    return f"<msub>{body}{_row('<mi>t</mi>', _mo(MINUS), '<mn>1</mn>')}</msub>", ATOM


def _corrected(node: Call) -> Piece:
    average = node.arguments[0]
    if isinstance(average, Call) and average.operator == "ema":
        inner, beta = average.arguments
        return _function("ema", inner, index=beta, hat=True), ATOM
    return f'<mover accent="true">{_row(_set(average)[0])}<mo>{HAT}</mo></mover>', ATOM


def _noise(node: Call) -> Piece:
    spread = _power(_row(_within(node.arguments[0], ATOM)), "<mn>2</mn>")
    return _row("<mi>𝒩</mi>", _mo("("), "<mn>0</mn>", _mo(","), spread, _mo(")")), ATOM


def _cases(node: Call) -> Piece:
    condition, yes, no = (_set(argument)[0] for argument in node.arguments)
    rows = (
        f"<mtr><mtd>{yes}</mtd><mtd>{_row(condition, _mo('&gt;'), '<mn>0</mn>')}</mtd></mtr>"
        f"<mtr><mtd>{no}</mtd><mtd><mtext>else</mtext></mtd></mtr>"
    )
    return _row(_mo("{"), f'<mtable columnalign="left left">{rows}</mtable>'), ATOM


def _linear_decay(node: Call) -> Piece:
    return _row("<mn>1</mn>", _mo(MINUS), "<mfrac><mi>t</mi><mi>T</mi></mfrac>"), SUM


def _annealed(node: Call) -> Piece:
    base = _row(_mo("("), "<mn>1</mn>", _mo("+"), "<mi>t</mi>", _mo(")"))
    return _power(base, _row(_mo(MINUS), "<mn>0.275</mn>")), POWER


_SETTERS: dict[str, Callable[[Call], Piece]] = {
    "add": _infix("+", SUM, SUM),
    "sub": _infix(MINUS, SUM, PRODUCT),
    "mul": _product,
    "div": _fraction,
    "pow": _raised,
    "neg": _negative,
    "exp": _exponential,
    "log": lambda node: (_function("ln", *node.arguments), ATOM),
    "sqrt": lambda node: (f"<msqrt>{_set(node.arguments[0])[0]}</msqrt>", ATOM),
    "abs": _fenced("|", "|"),
    "norm": _fenced("‖", "‖"),
    "sign": lambda node: (_function("sgn", *node.arguments), ATOM),
    "square": _square,
    "clip": _indexed("clip"),
    "drop": _indexed("drop"),
    "ema": _indexed("ema"),
    "trace": _indexed("trace"),
    "cd": _of_time("cd"),
    "rd": _of_time("rd"),
    "total": _running("<mo>∑</mo>"),
    "runmax": _running('<mi class="word">max</mi>'),
    "prev": _previous,
    "debias": _corrected,
    "noise": _noise,
    "where": _cases,
    "ld": _linear_decay,
    "annealed_noise": _annealed,
}
"""How each operator is set; one without an entry is set as a function by its name."""
