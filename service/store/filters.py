"""The filter language of lists, a subset of AIP-160, from text to SQL conditions.

    filter     = sequence { "AND" sequence }
    sequence   = factor { "OR" factor }          (OR binds tighter than AND, as in AIP-160)
    factor     = [ "NOT" ] ( "(" filter ")" | comparison )
    comparison = NAME ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) VALUE

A value is a bare word, a number, a quoted text or `null`; values reach SQL as bound parameters.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, not_, or_

from service.store.errors import QueryError
from service.store.query import Field, Kind, Listing, sql_type

MAX_DEPTH = 16

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<sign><=|>=|!=|=|<|>|:)|(?P<paren>[()])|(?P<word>[\w.+\-]+))""",
    re.VERBOSE,
)

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_WANTED: dict[Kind, str] = {
    "whole": "an integer",
    "real": "a number",
    "instant": 'a moment such as "2026-01-31T12:00:00Z"',
    "text": "a text",
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def condition(text: str, listing: Listing, backend: str) -> ColumnElement[bool]:
    """Return the SQL condition that a filter says.

    Args:
        text: the filter, not blank.
        listing: the list's fields.
        backend: `sqlite` or `postgresql`.

    Raises:
        QueryError: a syntax error, an unknown field, or a value of the wrong kind.
    """
    return _Parser(_tokens(text), listing, backend).whole()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].lstrip()
            raise QueryError(
                "filter",
                f"{rest[:20]!r} at character {end - len(rest.rstrip()) + 1} is not "
                "understood; texts with spaces or signs stand in quotes",
            )
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match.group(kind), match.start(kind) + 1))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], listing: Listing, backend: str) -> None:
        self._tokens = tokens
        self._next = 0
        self._listing = listing
        self._backend = backend

    def whole(self) -> ColumnElement[bool]:
        result = self._filter(0)
        if self._next < len(self._tokens):
            raise self._unexpected("AND, OR or the end")
        return result

    def _filter(self, depth: int) -> ColumnElement[bool]:
        if depth > MAX_DEPTH:
            raise QueryError("filter", f"is nested deeper than {MAX_DEPTH}; flatten it")
        parts = [self._sequence(depth)]
        while self._accept("word", "AND"):
            parts.append(self._sequence(depth))
        return and_(*parts)

    def _sequence(self, depth: int) -> ColumnElement[bool]:
        parts = [self._factor(depth)]
        while self._accept("word", "OR"):
            parts.append(self._factor(depth))
        return or_(*parts)

    def _factor(self, depth: int) -> ColumnElement[bool]:
        negative = self._accept("word", "NOT")
        if self._accept("paren", "("):
            inner = self._filter(depth + 1)
            if not self._accept("paren", ")"):
                raise self._unexpected("')'")
        else:
            inner = self._comparison()
        # A comparison with no value is unknown to SQL; NOT makes it true here, as a person expects.
        return not_(func.coalesce(inner, literal(False))) if negative else inner

    def _comparison(self) -> ColumnElement[bool]:
        name = self._take("word", "a field's name")
        field = self._listing.find(name.text, "filter", self._backend)
        sign = self._take("sign", "one of = != < <= > >= :")
        token = self._peek()
        if token is None or token.kind not in ("word", "text"):
            raise self._unexpected("a value")
        self._next += 1
        return _compare(name.text, field, sign.text, token)

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _accept(self, kind: str, text: str) -> bool:
        token = self._peek()
        if token is None or (token.kind, token.text) != (kind, text):
            return False
        self._next += 1
        return True

    def _take(self, kind: str, wanted: str) -> _Token:
        token = self._peek()
        if token is None or token.kind != kind:
            raise self._unexpected(wanted)
        self._next += 1
        return token

    def _unexpected(self, wanted: str) -> QueryError:
        token = self._peek()
        if token is None:
            return QueryError("filter", f"ends where {wanted} should stand")
        return QueryError(
            "filter", f"{token.text[:40]!r} at character {token.position}: {wanted} should stand"
        )


def _compare(name: str, field: Field, sign: str, token: _Token) -> ColumnElement[bool]:
    expression = field.expression
    if token.kind == "word" and token.text == "null":
        if sign not in ("=", "!="):
            raise QueryError("filter", f"{name} {sign} null: null goes with = and != only")
        empty = expression.is_(None)
        if field.as_text is not None:
            empty = field.as_text.is_(None)
        return empty if sign == "=" else not_(empty)
    text = re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "text" else token.text
    kind = field.kind
    if field.as_text is not None and (token.kind == "text" or not _is_number(text)):
        expression, kind = field.as_text, "text"
    if sign == ":":
        if kind != "text":
            raise QueryError("filter", f"{name} : {text[:40]!r}: `:` goes with texts only")
        return func.lower(expression).contains(text.lower(), autoescape=True)
    value = literal(_value(name, field, kind, text, sign), sql_type(expression, kind))
    if sign == "=":
        return expression == value
    if sign == "!=":
        return expression.is_distinct_from(value)
    result: ColumnElement[bool] = _COMPARE[sign](expression, value)
    return result


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _value(name: str, field: Field, kind: Kind, text: str, sign: str) -> Any:
    if kind == "text":
        if field.choices and sign in ("=", "!=") and text not in field.choices:
            raise QueryError(
                "filter", f"{name} is never {text[:40]!r}; allowed: {', '.join(field.choices)}"
            )
        return text
    try:
        if kind == "instant":
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        if kind == "real":
            if not _is_number(text):
                raise ValueError(text)
            return float(text)
        whole = int(text)
        if not -(2**63) <= whole < 2**63:
            raise ValueError(text)
        return whole
    except (ValueError, OverflowError):
        raise QueryError(
            "filter", f"{name} {sign} {text[:40]!r}: the value must be {_WANTED[kind]}"
        ) from None
