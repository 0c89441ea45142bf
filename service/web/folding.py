"""Formulas in table cells: folded before a sign where long, as text where that is not enough.

Browsers break lines between formulas, never within one, and what does not fit would be cut.
"""

from functools import lru_cache
from html import unescape
from xml.etree import ElementTree

from markupsafe import Markup

from dsl.errors import RuleError
from dsl.text import parse
from service.web.formula import lines_of, pieces_of

WIDEST = 18.0
"""Widest piece that is set as a formula, in em; what a telephone shows beside a margin."""

LETTER, INDEX, AIR = 0.62, 0.72, 0.56
"""Mean width of a letter and of the space round a sign, in em; the scale of an index."""


@lru_cache(maxsize=8192)
def folded(text: str, length: int = 110) -> Markup:
    """Return a rule's formula in pieces that fit a cell; else its text, cut after `length`."""
    try:
        expression = parse(text)
    except RuleError:
        return _plain(text, length)
    pieces, lines = pieces_of(expression.update), lines_of(expression)
    if len(text) > length or any(extent(piece) > WIDEST for piece in [*pieces, *lines]):
        return _plain(text, length)
    body = " ".join(f"<math>{piece}</math>" for piece in pieces)
    where = ", ".join(f"<math>{line}</math>" for line in lines)
    if where:
        body += f' <span class="where">where {where}</span>'
    return Markup(body)  # noqa: S704  (built of escaped pieces)


def _plain(text: str, length: int) -> Markup:
    cut = text if len(text) <= length else text[: length - 1].rstrip() + "…"
    return Markup('<code class="rule" title="{}">{}</code>').format(text, cut)


def extent(piece: str) -> float:
    """Return about how wide a piece of MathML is set, in em."""
    return _extent(ElementTree.fromstring(piece))  # noqa: S314  (our own output)


def _extent(node: ElementTree.Element) -> float:
    inner = [_extent(child) for child in node]
    tag = node.tag
    if tag in ("mi", "mn", "mtext"):
        return LETTER * len(unescape(node.text or ""))
    if tag == "mo":
        text = node.text or ""
        return {"(": 0.45, ")": 0.45, "|": 0.35, ",": 0.45, "\N{FUNCTION APPLICATION}": 0.0,
                "\N{INVISIBLE TIMES}": 0.0}.get(text, LETTER + AIR)  # fmt: skip
    if tag == "mspace":
        return 0.2
    if tag == "mfrac":
        # In running text a fraction's parts are set as indices are.
        return INDEX * max(inner) + 0.2
    if tag in ("msub", "msup"):
        return inner[0] + INDEX * inner[1]
    if tag in ("mover", "munder"):
        return max(inner)
    if tag == "msqrt":
        return sum(inner) + 0.8
    if tag == "mtable":
        return max(inner, default=0.0) + 0.5
    return sum(inner)
