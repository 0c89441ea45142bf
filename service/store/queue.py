"""The queue: who runs a job, until when, and the fence that keeps out whoever ran it before.

A claim has an epoch, one more than the last. Every write by a claim locks the job's row and checks
the epoch in the same transaction, so a dispatcher that lost its lease changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Row, and_, select, update

from dsl.outcome import TrialState
from search.space import Point
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from service.resources import TERMINAL, Job, JobState
from service.store import events, jobs
from service.store.database import Transaction
from service.store.errors import LeaseLost, StateConflict
from service.store.tables import jobs as table
from service.store.tables import trials

Action = Literal["pause", "resume", "cancel"]

MAX_CRASHES = 3
"""Leases that may lapse without a result in between; then the job has FAILED."""

NAMED = 5
"""Points that were never tried, as many as an ended job names."""

ACTIVE = (JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING)
_OPEN = (TrialState.QUEUED, TrialState.RUNNING)

# What an action makes of each state; a state that is missing refuses it. Asking again for what
# already holds, or is under way, changes nothing, so that a request can be sent twice.
_AFTER: dict[str, dict[JobState, JobState]] = {
    "pause": {
        JobState.QUEUED: JobState.PAUSED,
        JobState.RUNNING: JobState.PAUSING,
        JobState.PAUSING: JobState.PAUSING,
        JobState.PAUSED: JobState.PAUSED,
    },
    "resume": {
        JobState.PAUSED: JobState.QUEUED,
        JobState.QUEUED: JobState.QUEUED,
        JobState.RUNNING: JobState.RUNNING,
    },
    "cancel": {
        JobState.QUEUED: JobState.CANCELLED,
        JobState.PAUSED: JobState.CANCELLED,
        JobState.RUNNING: JobState.CANCELLING,
        JobState.PAUSING: JobState.CANCELLING,
        JobState.CANCELLING: JobState.CANCELLING,
        JobState.CANCELLED: JobState.CANCELLED,
    },
}

# A person's wish that a run met, whatever the run itself ended with (its own end excepted).
_WISH = {JobState.PAUSING: JobState.PAUSED, JobState.CANCELLING: JobState.CANCELLED}


@dataclass(frozen=True)
class Claim:
    """The right to run a job, as long as its lease is renewed and nobody claims it anew."""

    job_id: str
    epoch: int
    owner: str
    spec: TuneJob | DiscoverJob


def request(transaction: Transaction, job_id: str, action: Action) -> Job:
    """Pause, resume or cancel a job, at once where nobody runs it."""
    connection = transaction.connection
    after = _AFTER.get(action)
    if after is None:
        raise ValueError(f"there is no action {action!r}; allowed: {', '.join(_AFTER)}")
    row = jobs.row_of(connection, job_id, lock=True)
    state = JobState(row.state)
    if state not in after:
        raise StateConflict(f"{action} the job", state, after)
    if after[state] != state:
        _enter(transaction, row, after[state])
    return jobs.get(connection, job_id)


def claim(transaction: Transaction, owner: str, lease_seconds: float) -> Claim | None:
    """Take the job that has waited longest, or one whose dispatcher fell silent."""
    connection, now = transaction.connection, transaction.now
    lapsed = and_(table.c.state.in_(ACTIVE), table.c.lease_until < now)
    for row in connection.execute(
        select(table).where(lapsed).with_for_update(skip_locked=True)
    ).all():
        _recover(transaction, row)
    waiting = connection.execute(
        select(table)
        .where(table.c.state == JobState.QUEUED)
        .order_by(table.c.created, table.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if waiting is None:
        return None
    connection.execute(
        update(table)
        .where(table.c.id == waiting.id)
        .values(
            epoch=table.c.epoch + 1,
            owner=owner,
            lease_until=now + timedelta(seconds=lease_seconds),
            started=waiting.started or now,
        )
    )
    _enter(transaction, waiting, JobState.RUNNING)
    spec = JOB_SPEC.validate_python(waiting.spec)
    return Claim(job_id=waiting.id, epoch=waiting.epoch + 1, owner=owner, spec=spec)


def _recover(transaction: Transaction, row: Row[Any]) -> None:
    """Take a job from a dispatcher that fell silent, and shut that one out."""
    crashes = row.crashes + 1
    transaction.connection.execute(
        update(table).where(table.c.id == row.id).values(epoch=table.c.epoch + 1, crashes=crashes)
    )
    state = _WISH.get(JobState(row.state), JobState.QUEUED)
    error = None
    if state is JobState.QUEUED and crashes > MAX_CRASHES:
        state = JobState.FAILED
        error = (
            f"its dispatcher died {crashes} times without a result in between; "
            "look at the dispatcher's log, then clone the job"
        )
    else:
        log = {"sentence": f"Dispatcher {row.owner} fell silent; its claim {row.epoch} is over."}
        events.append(transaction.connection, row.id, "log", log, transaction.now)
    _enter(transaction, row, state, error)


def _enter(
    transaction: Transaction, row: Row[Any], state: JobState, error: str | None = None
) -> None:
    """Put a job into a state, with what follows from it for its trials and its claim."""
    connection, now = transaction.connection, transaction.now
    values: dict[str, Any] = {"state": state}
    if state not in ACTIVE:
        values |= {"owner": None, "lease_until": None}
        _settle(transaction, row.id, state)
    if state in TERMINAL:
        values |= {"finished": now, "error": error}
        if points := jobs.untried(connection, row):
            events.append(connection, row.id, "log", {"sentence": _farewell(points)}, now)
    connection.execute(update(table).where(table.c.id == row.id).values(**values))
    body = {"state": state} if error is None else {"state": state, "error": error}
    events.append(connection, row.id, "job", body, now)


def _farewell(points: Sequence[Point]) -> str:
    """Say that a job ends before these points were tried."""
    named = [", ".join(f"{name}={value}" for name, value in each.items()) for each in points]
    shown, more = "; ".join(named[:NAMED]), len(named) - NAMED
    rest = f"; and {more} more" if more > 0 else ""
    many = "1 point was" if len(points) == 1 else f"{len(points)} points were"
    remedy = "submit a job with 'warm_start' from this one and 'enqueue'"
    return f"The job ends, and {many} not tried: {shown}{rest}. To try what is left, {remedy}."


def _settle(transaction: Transaction, job_id: str, state: JobState) -> None:
    """Open trials wait for the next run, or have ended with the job."""
    of_job = (trials.c.job_id == job_id, trials.c.state.in_(_OPEN))
    if state not in TERMINAL:
        transaction.connection.execute(
            update(trials).where(*of_job).values(state=TrialState.QUEUED)
        )
        return
    for state_, lost in ((TrialState.FAILED, True), (TrialState.CANCELLED, False)):
        transaction.connection.execute(
            update(trials)
            .where(*of_job, trials.c.losses > 0 if lost else trials.c.losses == 0)
            .values(state=state_, finished=transaction.now)
        )


def fence(transaction: Transaction, held: Claim) -> Row[Any]:
    """Lock the claimed job's row and return it.

    Raises:
        LeaseLost: the claim is over.
    """
    row = transaction.connection.execute(
        select(table)
        .where(table.c.id == held.job_id, table.c.epoch == held.epoch, table.c.state.in_(ACTIVE))
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise LeaseLost(held.job_id, held.epoch)
    return row


def renew(transaction: Transaction, held: Claim, lease_seconds: float) -> JobState:
    """Keep the claim for another while; the state says whether a person wants the run to stop."""
    row = fence(transaction, held)
    until = transaction.now + timedelta(seconds=lease_seconds)
    transaction.connection.execute(
        update(table).where(table.c.id == held.job_id).values(lease_until=until)
    )
    return JobState(row.state)


def log(transaction: Transaction, held: Claim, sentence: str) -> None:
    """Write a sentence into the job's events."""
    fence(transaction, held)
    events.append(
        transaction.connection, held.job_id, "log", {"sentence": sentence}, transaction.now
    )


def finish(transaction: Transaction, held: Claim, state: JobState, error: str | None) -> None:
    """End the claim. A released or paused run meets the wish that came in meanwhile.

    One that succeeded goes on where points came in that it has not heard of.
    """
    row = fence(transaction, held)
    if state in ACTIVE:
        allowed = ", ".join(s for s in JobState if s not in ACTIVE)
        raise ValueError(f"a run cannot finish as {state}; allowed: {allowed}")
    if state in (JobState.QUEUED, JobState.PAUSED):
        state = _WISH.get(JobState(row.state), state)
    if state is JobState.SUCCEEDED and (points := jobs.untried(transaction.connection, row)):
        many = "A point was" if len(points) == 1 else f"{len(points)} points were"
        log = {"sentence": f"{many} added as the job was about to end; it goes on."}
        events.append(transaction.connection, row.id, "log", log, transaction.now)
        state = _WISH.get(JobState(row.state), JobState.QUEUED)
    _enter(transaction, row, state, error)


def expire(transaction: Transaction, owner: str) -> int:
    """End the leases of an owner's earlier life; its jobs can be claimed at once."""
    moment = transaction.now - timedelta(seconds=1)
    return transaction.connection.execute(
        update(table)
        .where(table.c.owner == owner, table.c.state.in_(ACTIVE))
        .values(lease_until=moment)
    ).rowcount
