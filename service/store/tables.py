"""The tables. Columns only for what is filtered, claimed or sorted on; the rest is JSON."""

import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond, on back ends with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return the moment as the back end takes it."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Finite(TypeDecorator[float]):
    """A number that is neither NaN nor infinite: those never reach SQL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float | None:
        """Return the number, or raise ValueError."""
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{value} is not finite; report the candidate as INFEASIBLE instead")
        return None if value is None else float(value)


Json = JSON(none_as_null=True)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("task", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("spec", Json, nullable=False),
    Column("metric", String(64), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("budget", BigInteger, nullable=False),
    Column("notes", Text, nullable=False),
    Column("best", Finite),
    Column("error", Text),
    Column("created", Instant, nullable=False),
    Column("started", Instant),
    Column("finished", Instant),
    # The claim: who runs it, until when, and the fencing number that every write must carry.
    Column("owner", String(128)),
    Column("epoch", BigInteger, nullable=False),
    Column("lease_until", Instant),
    # Leases that lapsed since the last recorded result.
    Column("crashes", Integer, nullable=False),
    # The last event's number, taken in the transaction that writes the event.
    Column("event_seq", BigInteger, nullable=False),
    Index("ix_jobs_queue", "state", "created", "id"),
    Index("ix_jobs_created", "created", "id"),
)

rules = Table(
    "rules",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("text", Text, nullable=False),
    Column("label", String(64)),
    Column("origin", String(16), nullable=False),
    Column("created", Instant, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("job_id", String(12), ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    # The job's own, or an unseen one; every row has it, though the column came later.
    Column("task", String(64)),
    Column("label", String(64)),
    Column("rule_id", String(12), ForeignKey(rules.c.id), nullable=False),
    Column("value", Finite),
    Column("step", BigInteger, nullable=False),
    Column("lr", Finite),
    Column("cost_steps", BigInteger, nullable=False),
    Column("cost_seconds", Finite, nullable=False),
    Column("reason", Text),
    Column("attempt", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("created", Instant, nullable=False),
    Column("finished", Instant),
    Column("proposal", Json, nullable=False),
    # The outcome without its curve, which lists do not read.
    Column("outcome", Json),
    Column("curve", Json),
    # Under which conditions what was trained here, for later jobs that ask the same; else empty.
    Column("conditions", String(32)),
    Column("behaviour", String(32)),
    Index("ix_trials_known", "conditions", "finished"),
    Index("ix_trials_state", "job_id", "state"),
    Index("ix_trials_value", "job_id", "stage", "state", "value"),
    Index("ix_trials_rule", "rule_id"),
)

standings = Table(
    "standings",
    metadata,
    Column("rule_id", String(12), ForeignKey(rules.c.id), primary_key=True),
    # Adam and AdamW are one rule with different decay, so the name is part of the key.
    Column("label", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("job_id", String(12), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("metric", String(64), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("value", Finite, nullable=False),
    # How well attested: comparison (1) before search (0), seeds, steps, then the lower score.
    Column("compared", Integer, nullable=False),
    Column("seeds", BigInteger, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("score", Finite, nullable=False),
    Column("lr", Finite),
    Column("slots", BigInteger, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("spread", Json, nullable=False),
    ForeignKeyConstraint(
        ["job_id", "number"], [trials.c.job_id, trials.c.number], ondelete="CASCADE"
    ),
    Index("ix_standings_trial", "job_id", "number"),
    Index("ix_standings_order", "compared", "score"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", String(12), ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("body", Json, nullable=False),
    Column("created", Instant, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("job_id", String(12), ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("created", Instant, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("job_id", String(12), ForeignKey(jobs.c.id, ondelete="CASCADE"), nullable=False),
    Column("created", Instant, nullable=False),
    Index("ix_idempotency_job", "job_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created", Instant, nullable=False),
    Column("used", Instant),
    Column("revoked", Instant),
)
