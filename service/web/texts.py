"""Texts of a body: what JSON can say and Unicode cannot is refused before it is validated."""

from collections.abc import Iterator
from typing import Any

from fastapi import Request

from service.web.phrases import shown
from service.web.pointers import pointer_of
from service.web.problems import FieldError, Problem

Place = tuple[str | int, ...]


async def refuse_half_pairs(request: Request) -> None:
    """Refuse a JSON body of which a text or a key holds half of a surrogate pair.

    No answer and no store could hold such a text, and pydantic cannot name a fault beside one.

    Raises:
        Problem: 422, with where the first of them stands.
    """
    if "json" not in request.headers.get("content-type", ""):
        return
    sent = await request.body()
    # As an escape, or as the bytes that stand for one: most bodies need no closer look.
    if b"\\ud" not in sent.lower() and b"\xed" not in sent:
        return
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return  # a route that wants a body says itself why it cannot be read
    for where, text in _texts(body):
        if not _is_unicode(text):
            detail = (
                f"{shown(text)} is no valid Unicode text: it holds half of a surrogate pair; "
                "write both halves or remove it"
            )
            pointer = pointer_of(where)
            raise Problem(422, f"{pointer}: {detail}", [FieldError(pointer=pointer, detail=detail)])


def _texts(body: Any) -> Iterator[tuple[Place, str]]:
    """Yield all texts with their places, keys at those of their objects; bodies may be deep."""
    waiting: list[tuple[Place, Any]] = [((), body)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, str):
            yield where, value
        elif isinstance(value, dict):
            yield from ((where, key) for key in value)
            waiting.extend(((*where, key), below) for key, below in value.items())
        elif isinstance(value, list):
            waiting.extend(((*where, i), below) for i, below in enumerate(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
