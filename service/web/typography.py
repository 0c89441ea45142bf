"""How numbers, times and rules are set on a page: the filters of the templates.

Numbers follow the habits of print: a true minus sign, powers of ten in place of `1e-05`, and as
many decimals as the reader can compare down a column.
"""

import ast
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from keyword import iskeyword
from math import floor, isfinite, log10
from textwrap import dedent
from token import COMMENT, DEDENT, ENCODING, INDENT, NAME, NUMBER, STRING
from tokenize import TokenError, tokenize
from typing import Any

from markupsafe import Markup, escape

ABSENT = Markup('<span class="absent">–</span>')
"""Stands where a value is not known."""

MINUS = "\N{MINUS SIGN}"


def power(value: float, digits: int = 3) -> Markup:
    """Set `value` as mantissa × 10^exponent, leaving out a mantissa of one.

    Args:
        value: A finite number other than 0.
        digits: Significant digits of the mantissa.
    """
    exponent = floor(log10(abs(value)))
    mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".rstrip("0").rstrip(".")
    if mantissa in ("10", "-10"):
        mantissa, exponent = mantissa[:-1], exponent + 1
    exponent_text = str(exponent).replace("-", MINUS)
    base = Markup("10<sup>{}</sup>").format(exponent_text)
    if mantissa == "1":
        return base
    if mantissa == "-1":
        return Markup("{}{}").format(MINUS, base)
    return Markup("{} × {}").format(mantissa.replace("-", MINUS), base)


def figure(value: float | None, like: float | None = None) -> Markup:
    """Set a measured value, say a loss, with the decimals that a column of them shares.

    Args:
        value: None and what is not finite are set as absent.
        like: Another value whose decimals it shall have: a spread has those of its mean.
    """
    if value is None or not isfinite(value):
        return ABSENT
    size = abs(value if like is None else like)
    if size != 0 and (size < 1e-3 or size >= 1e5):
        return power(value) if value else escape("0")
    decimals = 4 if size < 10 else 2 if size < 1000 else 0
    return escape(f"{value:.{decimals}f}".replace("-", MINUS))


def setting(value: Any) -> Markup:
    """Set a chosen number, say a learning rate: three significant digits, powers of ten bare."""
    if value is None:
        return ABSENT
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(value)
    if not isfinite(value):
        return ABSENT
    size = abs(value)
    if size != 0 and (size < 1e-2 or size >= 1e5):
        return power(value)
    return escape(f"{value:.3g}".replace("-", MINUS))


def count(value: int) -> str:
    """Set a whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", MINUS)


def percent(part: float, whole: float) -> str:
    """Set a share as a whole percentage, never rounding up to 100 before all is done."""
    if whole <= 0:
        return "0 %"
    return f"{floor(100 * min(part / whole, 1.0))} %"


def duration(seconds: float | None) -> str:
    """Set a span of time in its two largest units."""
    if seconds is None or not isfinite(seconds):
        return "–"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def ago(moment: datetime | None, now: datetime) -> Markup:
    """Set a moment as the time since then, with the exact one on hovering."""
    if moment is None:
        return ABSENT
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = (now - aware).total_seconds()
    if since < 10:
        text = "just now"
    elif since < 90 * 86_400:
        text = f"{duration(since).split(' ')[0]} {duration(since).split(' ')[1]} ago"
    else:
        text = f"{aware:%d %B %Y}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        aware.isoformat(), f"{aware:%d %B %Y, %H:%M:%S} UTC", text
    )


def spec_json(spec: Mapping[str, Any]) -> str:
    """Set a job's body as it would be posted."""
    return json.dumps(spec, indent=2, ensure_ascii=False)


def python(source: str) -> Markup:
    """Mark the words of a Python file for colouring: keywords, strings, numbers, comments.

    Text that Python cannot split into words is set plain.
    """
    lines = source.splitlines(keepends=True)
    out, row, column = Markup(""), 1, 0
    try:
        words = list(tokenize(BytesIO(source.encode()).readline))
    except (TokenError, SyntaxError):
        return escape(source)
    for word in words:
        kind = _kind(word.type, word.string)
        if kind is None:
            continue
        out += _between(lines, (row, column), word.start)
        out += Markup('<span class="py-{}">{}</span>').format(kind, word.string)
        row, column = word.end
    return out + _between(lines, (row, column), (len(lines) + 1, 0))


def function(source: str, name: str) -> str | None:
    """Return the text of a Python file's function or method, None if it has none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
            return dedent("\n".join(lines))
    return None


def _kind(token: int, text: str) -> str | None:
    if token in (ENCODING, INDENT, DEDENT):
        return None
    if token == NAME and iskeyword(text):
        return "keyword"
    return {STRING: "string", NUMBER: "number", COMMENT: "comment"}.get(token)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> Markup:
    (row, column), (last, stop) = start, end
    if row > len(lines):
        return Markup("")
    if row == last:
        return escape(lines[row - 1][column:stop])
    text = lines[row - 1][column:] + "".join(lines[row : last - 1])
    if last <= len(lines):
        text += lines[last - 1][:stop]
    return escape(text)
