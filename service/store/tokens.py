"""Bearer tokens: shown once, kept only as their SHA-256 (they are random, so no salt is needed)."""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from service.store.database import Transaction
from service.store.errors import NotFound, StateConflict
from service.store.tables import tokens

PREFIX = "rulesmith_"
"""Lets people and secret scanners see what a leaked text is."""

_NAME = re.compile(r"[\w.\-]{1,64}")
_USE_STEP = timedelta(minutes=1)


@dataclass(frozen=True)
class Token:
    """What is known of a token besides its secret."""

    name: str
    created: datetime
    used: datetime | None
    """When it was last used, to the minute."""
    revoked: datetime | None


def create(transaction: Transaction, name: str) -> str:
    """Make a token and return its secret, which nobody can read again.

    Raises:
        ValueError: the name has other characters than letters, digits and `_ . -`.
        StateConflict: a token of this name is in use.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the token's name is {name[:80]!r}; allowed: 1 to 64 letters, digits, '_', '.', '-'"
        )
    connection = transaction.connection
    connection.execute(delete(tokens).where(tokens.c.name == name, tokens.c.revoked.is_not(None)))
    if connection.execute(select(tokens.c.name).where(tokens.c.name == name)).first():
        remedy = "choose another name or revoke it first"
        raise StateConflict(f"create token {name!r}", "IN USE", ["REVOKED", "NEW"], remedy)
    body = secrets.token_urlsafe(32)
    secret = f"{PREFIX}{body}{zlib.crc32(body.encode()):08x}"
    connection.execute(
        insert(tokens).values(sha256=_digest(secret), name=name, created=transaction.now)
    )
    return secret


def listed(connection: Connection) -> tuple[Token, ...]:
    """Return every token, revoked ones too, the oldest first."""
    columns = (tokens.c.name, tokens.c.created, tokens.c.used, tokens.c.revoked)
    rows = connection.execute(select(*columns).order_by(tokens.c.created, tokens.c.name))
    return tuple(Token(**row._mapping) for row in rows)


def exist(connection: Connection) -> bool:
    """Whether a token was ever made: then every call needs one, also after the last is revoked."""
    return connection.execute(select(tokens.c.name).limit(1)).first() is not None


def revoke(transaction: Transaction, name: str) -> None:
    """End a token.

    Raises:
        NotFound: there is none of this name that still holds.
    """
    held = (
        "\0" not in name
        and transaction.connection.execute(
            update(tokens)
            .where(tokens.c.name == name, tokens.c.revoked.is_(None))
            .values(revoked=transaction.now)
        ).rowcount
    )
    if not held:
        raise NotFound("token", name)


def find(connection: Connection, secret: str) -> Token | None:
    """Return the token of this secret, if it holds."""
    columns = (tokens.c.name, tokens.c.created, tokens.c.used, tokens.c.revoked)
    row = connection.execute(
        select(*columns).where(tokens.c.sha256 == _digest(secret), tokens.c.revoked.is_(None))
    ).one_or_none()
    return None if row is None else Token(**row._mapping)


def stale(token: Token) -> bool:
    """Whether the time of last use is worth writing again: a write a call would be too dear."""
    return token.used is None or datetime.now(UTC) - token.used > _USE_STEP


def use(transaction: Transaction, name: str) -> None:
    """Write that a token was used now."""
    transaction.connection.execute(
        update(tokens).where(tokens.c.name == name).values(used=transaction.now)
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
