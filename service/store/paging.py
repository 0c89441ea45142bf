"""Pages of a list, cut by cursor: each begins after the last item seen, by its place in order."""

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
)

from service.store.errors import QueryError
from service.store.filters import condition
from service.store.query import Field, Kind, Listing, Query, sql_type

MAX_ORDER = 8
"""Fields that one order may name."""

_EMPTY: dict[Kind, Any] = {
    "whole": 0,
    "real": 0.0,
    "text": "",
    "instant": datetime(1970, 1, 1, tzinfo=UTC),
}


@dataclass(frozen=True)
class Fetched:
    """The rows of one page."""

    rows: tuple[Row[Any], ...]
    next_page_token: str | None
    total: int


@dataclass(frozen=True)
class _Term:
    expression: ColumnElement[Any]
    kind: Kind
    descending: bool


def fetch(
    connection: Connection, statement: Select[Any], listing: Listing, query: Query, scope: str = ""
) -> Fetched:
    """Run one page of `statement`, which has no order or limit yet.

    Pages are cut after the last item seen, by its place in the order, so items that come in
    between pages neither repeat nor hide others.

    Raises:
        QueryError: the filter, order or token is not understood.
    """
    backend = connection.dialect.name
    if query.filter.strip():
        statement = statement.where(condition(query.filter, listing, backend))
    inner = statement.with_only_columns(literal(1), maintain_column_froms=True).subquery()
    total = connection.execute(select(func.count()).select_from(inner)).scalar_one()

    terms = _terms(query.order_by or listing.order, listing, backend)
    digest = hashlib.sha256(
        "\0".join((listing.name, scope, query.filter, query.order_by)).encode()
    ).hexdigest()[:12]
    if query.page_token:
        statement = statement.where(_after(terms, _decode(query.page_token, digest, terms)))
    keys = [term.expression.label(f"_key_{i}") for i, term in enumerate(terms)]
    order = [t.expression.desc() if t.descending else t.expression.asc() for t in terms]
    limited = statement.add_columns(*keys).order_by(*order).limit(query.page_size + 1)
    rows = connection.execute(limited).all()
    token = None
    if len(rows) > query.page_size:
        rows = rows[: query.page_size]
        last = rows[-1]._mapping
        token = _encode([last[f"_key_{i}"] for i in range(len(terms))], digest)
    return Fetched(tuple(rows), token, total)


def _terms(text: str, listing: Listing, backend: str) -> list[_Term]:
    terms: list[_Term] = []
    named: list[str] = []
    for part in text.split(","):
        words = part.split()
        if len(words) not in (1, 2) or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise QueryError(
                "order_by", f"{part.strip()!r} is not understood; allowed: `field` or `field desc`"
            )
        if words[0] in named:
            raise QueryError("order_by", f"{words[0]!r} stands there twice; leave one out")
        named.append(words[0])
        if len(named) > MAX_ORDER:
            raise QueryError("order_by", f"has more than {MAX_ORDER} fields; leave some out")
        found = listing.find(words[0], "order_by", backend)
        terms += _expand(found, words[-1] == "desc" and len(words) == 2)
    for name in listing.key:
        if name not in named:
            terms += _expand(listing.fields[name], False)
    return terms


def _expand(found: Field, descending: bool) -> list[_Term]:
    if not found.nullable:
        return [_Term(found.expression, found.kind, descending)]
    # Two terms, so that no value comes last in either direction and never meets a comparison.
    missing = case((found.expression.is_(None), 1), else_=0)
    filled = func.coalesce(found.expression, literal(_EMPTY[found.kind], found.expression.type))
    return [_Term(missing, "whole", False), _Term(filled, found.kind, descending)]


def _after(terms: Sequence[_Term], values: Sequence[Any]) -> ColumnElement[bool]:
    choices: list[ColumnElement[bool]] = []
    for i, (term, value) in enumerate(zip(terms, values, strict=True)):
        bound = literal(value, sql_type(term.expression, term.kind))
        beyond = term.expression < bound if term.descending else term.expression > bound
        same = [
            t.expression == literal(v, sql_type(t.expression, t.kind))
            for t, v in zip(terms[:i], values[:i], strict=True)
        ]
        choices.append(and_(*same, beyond))
    return or_(*choices)


def _encode(values: Sequence[Any], digest: str) -> str:
    plain = [v.isoformat() if isinstance(v, datetime) else v for v in values]
    return base64.urlsafe_b64encode(json.dumps([digest, *plain]).encode()).decode().rstrip("=")


def _decode(token: str, digest: str, terms: Sequence[_Term]) -> list[Any]:
    broken = QueryError(
        "page_token",
        "is not one that this list gave for this filter and order; start again without it",
    )
    if len(token) > 4096 or not token.isascii():
        raise broken
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, RecursionError):
        raise broken from None
    if not isinstance(found, list) or len(found) != len(terms) + 1 or found[0] != digest:
        raise broken
    try:
        return [_value(v, t.kind) for v, t in zip(found[1:], terms, strict=True)]
    except (TypeError, ValueError, OverflowError):
        raise broken from None


def _value(value: Any, kind: Kind) -> Any:
    if kind == "instant":
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a moment without its zone")
        return moment.astimezone(UTC)
    if kind == "text":
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("not a text")
        value.encode()
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a number")
    if kind == "whole":
        if not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise ValueError("not an integer that SQL holds")
        return value
    return float(value)
