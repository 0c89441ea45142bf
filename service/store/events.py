"""The event log of each job: numbered 1, 2, 3 … without gaps, written with what it tells of.

Kinds and their bodies:

- `job`: `state`, and `error` where the job failed: the job's state changed.
- `trials`: `numbers`, `states` and `values` (lists of one length), `best` (the job's best value so
  far or null), `counts` (trials by state in the whole job) and `judged` (trials of the search
  stage that have an answer): trials started or finished.
- `log`: `sentence`.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from service.resources import Event
from service.store.tables import events, jobs


def append(
    connection: Connection, job_id: str, kind: str, body: dict[str, Any], now: datetime
) -> int:
    """Write the job's next event and return its number.

    The number comes from the job's own counter in the same transaction; the row lock that this
    takes makes writers queue, so a reader that has seen n has seen all before n.
    """
    seq: int = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(event_seq=jobs.c.event_seq + 1)
        .returning(jobs.c.event_seq)
    ).scalar_one()
    connection.execute(
        insert(events).values(job_id=job_id, seq=seq, kind=kind, body=body, created=now)
    )
    return seq


def read(connection: Connection, job_id: str, after: int, limit: int) -> tuple[Event, ...]:
    """Return at most `limit` events with a number above `after`, in order."""
    rows = connection.execute(
        select(events)
        .where(events.c.job_id == job_id, events.c.seq > after)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return tuple(Event(**row._mapping) for row in rows)
