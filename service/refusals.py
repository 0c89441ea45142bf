"""Refusals of a job's body, in sentences that say what is allowed; validators raise them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

from pydantic_core import PydanticCustomError

Fault = tuple[tuple[str | int, ...], str]
"""Where in a job's body, and why."""


def unknown(what: str, value: str, allowed: Iterable[str], *at: str | int) -> NoReturn:
    """Refuse a name; `at` is where it stands within the field that is validated."""
    names = sorted(allowed)
    value = value[:64]
    near = get_close_matches(value, names, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise PydanticCustomError(
        "unknown_name",
        "there is no {what} '{value}'{hint}; allowed: {allowed}",
        {"what": what, "value": value, "hint": hint, "allowed": ", ".join(names), "at": at},
    )


def refuse(why: str, *at: str | int) -> NoReturn:
    """Refuse a value; `at` is where the fault stands within it."""
    raise PydanticCustomError("one_of", "{why}", {"why": why, "at": at})
