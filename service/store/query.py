"""How lists are asked for: paging by cursor, filters, orders; errors name the field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement
from sqlalchemy.types import TypeEngine

from service.store.errors import QueryError

MAX_PAGE_SIZE = 1000
MAX_TEXT = 1000
"""Characters of a filter or an order."""

Kind = Literal["text", "whole", "real", "instant"]


@dataclass(frozen=True)
class Query:
    """What a list is asked for.

    Attributes:
        page_size: items per page, 1 to 1000.
        page_token: the `next_page_token` of the page before, with the same filter and order.
        filter: comparisons joined by AND, OR, NOT and parentheses, a subset of AIP-160:
            `state = COMPLETE AND (value < 0.1 OR lr >= 1e-3)`. As there, OR binds tighter than
            AND. Operators: = != < <= > >= and `:` (the text contains). `null` is no value.
        order_by: `value desc, number`; items without a value come last either way.

    Raises:
        QueryError: a value is out of its bounds.
    """

    page_size: int = 50
    page_token: str | None = None
    filter: str = ""
    order_by: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise QueryError(
                "page_size", f"{self.page_size} is not allowed; allowed: 1 to {MAX_PAGE_SIZE}"
            )
        for name, text in (("filter", self.filter), ("order_by", self.order_by)):
            if len(text) > MAX_TEXT:
                raise QueryError(name, f"has {len(text)} characters; allowed: {MAX_TEXT}")
            if "\0" in text or not text.isprintable():
                raise QueryError(name, "has a character that cannot be printed; leave it out")


@dataclass(frozen=True)
class Field:
    """A name that lists can be filtered and ordered by."""

    expression: ColumnElement[Any]
    kind: Kind
    choices: tuple[str, ...] = ()
    nullable: bool = False
    as_text: ColumnElement[Any] | None = None
    """The same value as text, where it may be a number or a text (parameters)."""


def sql_type(expression: ColumnElement[Any], kind: Kind) -> TypeEngine[Any]:
    """Return the type in which a value that a person gave is compared with an expression.

    Any integer of 64 bits may be given, also where the column is narrower.
    """
    return BigInteger() if kind == "whole" else expression.type


Family = Callable[[str, str], Field]
"""Field of (back end, last part of the name), for names such as `metrics.validation_loss`."""


@dataclass(frozen=True)
class Listing:
    """What one kind of list offers: its fields and the order it has when none is asked for."""

    name: str
    fields: Mapping[str, Field]
    key: tuple[str, ...]
    """Fields that tell any two items apart."""
    order: str
    families: Mapping[str, Family] = field(default_factory=dict)

    def find(self, name: str, parameter: str, backend: str) -> Field:
        """Return the field of this name.

        Raises:
            QueryError: there is none.
        """
        if name in self.fields:
            return self.fields[name]
        family, _, last = name.partition(".")
        if family in self.families and last.isidentifier() and last.isascii() and len(last) <= 64:
            return self.families[family](backend, last)
        allowed = [*self.fields, *(f"{family}.NAME" for family in self.families)]
        raise QueryError(parameter, f"there is no field {name!r}; allowed: {', '.join(allowed)}")
