"""Jobs: made, listed, changed, copied, deleted."""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from dsl.candidate import Stage
from dsl.outcome import TOLD, TrialState
from search.space import Point
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from service.resources import TERMINAL, Job, JobState, Page
from service.store import events, rules
from service.store.database import Transaction, upsert
from service.store.errors import IdempotencyConflict, NotFound, StateConflict
from service.store.paging import fetch
from service.store.query import Field, Listing, Query
from service.store.tables import idempotency, jobs, standings, trials

Spec = TuneJob | DiscoverJob

KEY_LIFE = timedelta(hours=24)
"""How long an idempotency key is remembered."""

_STATES = tuple(JobState)
_IDLE = (JobState.QUEUED, JobState.PAUSED)
_GOING_ON = (*_IDLE, JobState.RUNNING, JobState.PAUSING)

LISTING = Listing(
    name="jobs",
    fields={
        "id": Field(jobs.c.id, "text"),
        "name": Field(jobs.c.name, "text"),
        "kind": Field(jobs.c.kind, "text", choices=("tune", "discover")),
        "task": Field(jobs.c.task, "text"),
        "state": Field(jobs.c.state, "text", choices=_STATES),
        "best": Field(jobs.c.best, "real", nullable=True),
        "budget": Field(jobs.c.budget, "whole"),
        "notes": Field(jobs.c.notes, "text"),
        "created": Field(jobs.c.created, "instant"),
        "started": Field(jobs.c.started, "instant", nullable=True),
        "finished": Field(jobs.c.finished, "instant", nullable=True),
    },
    key=("id",),
    order="created desc",
)


def budget_of(spec: Spec) -> int:
    """Return how many trials of the search stage the job will judge."""
    return spec.budget.trials if isinstance(spec, TuneJob) else spec.budget.rules


def create(transaction: Transaction, spec: Spec, key: str | None) -> tuple[Job, bool]:
    """Queue a job; with an idempotency key seen before, return that key's job and False."""
    connection, now = transaction.connection, transaction.now
    job_id = secrets.token_hex(6)
    _insert(transaction, job_id, spec)
    if key is not None:
        connection.execute(delete(idempotency).where(idempotency.c.created < now - KEY_LIFE))
        body = hashlib.sha256(JOB_SPEC.dump_json(spec)).hexdigest()
        entry = upsert(connection, idempotency).values(
            key=key, body_sha256=body, job_id=job_id, created=now
        )
        # Writing the key over itself gives back the row that holds: ours, or that of another
        # request which was first, perhaps at this very moment.
        first = connection.execute(
            entry.on_conflict_do_update(
                index_elements=[idempotency.c.key], set_={"key": entry.excluded.key}
            ).returning(idempotency.c.job_id, idempotency.c.body_sha256)
        ).one()
        if first.body_sha256 != body:
            raise IdempotencyConflict(key, first.job_id)
        if first.job_id != job_id:
            connection.execute(delete(jobs).where(jobs.c.id == job_id))
            return get(connection, first.job_id), False
    return get(connection, job_id), True


def _insert(transaction: Transaction, job_id: str, spec: Spec) -> None:
    transaction.connection.execute(
        insert(jobs).values(
            id=job_id,
            name=spec.name,
            kind=spec.kind,
            task=spec.task.name,
            state=JobState.QUEUED,
            spec=JOB_SPEC.dump_python(spec, mode="json"),
            metric=spec.objective.metric,
            direction=spec.objective.direction,
            budget=budget_of(spec),
            notes="",
            created=transaction.now,
            epoch=0,
            crashes=0,
            event_seq=0,
        )
    )
    events.append(
        transaction.connection, job_id, "job", {"state": JobState.QUEUED}, transaction.now
    )


def row_of(connection: Connection, job_id: str, *, lock: bool = False) -> Row[Any]:
    """Return the job's row, held against other writers if `lock`.

    Raises:
        NotFound: there is no such job.
    """
    # PostgreSQL refuses a text with NUL, so that one is answered here.
    found = None
    if "\0" not in job_id:
        statement = select(jobs).where(jobs.c.id == job_id)
        found = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if found is None:
        raise NotFound("job", job_id)
    return found


def get(connection: Connection, job_id: str) -> Job:
    """Return the job."""
    row = row_of(connection, job_id)
    return _job(row, tallies(connection, [job_id])[job_id])


def page(connection: Connection, query: Query) -> Page[Job]:
    """Return a page of jobs, the newest first unless asked otherwise."""
    found = fetch(connection, select(jobs), LISTING, query)
    by_job = tallies(connection, [row.id for row in found.rows])
    return Page[Job](
        items=tuple(_job(row, by_job[row.id]) for row in found.rows),
        next_page_token=found.next_page_token,
        total=found.total,
    )


@dataclass
class Tally:
    """How many trials a job has."""

    states: dict[TrialState, int] = field(default_factory=dict)
    """By state, over both stages (states with none are left out)."""

    judged: int = 0
    """Of the search stage, with an answer: what the budget counts."""


def tallies(connection: Connection, ids: Iterable[str]) -> dict[str, Tally]:
    """Return how many trials each job has."""
    rows = connection.execute(
        select(trials.c.job_id, trials.c.stage, trials.c.state, func.count())
        .where(trials.c.job_id.in_(list(ids)))
        .group_by(trials.c.job_id, trials.c.stage, trials.c.state)
    )
    found: dict[str, Tally] = defaultdict(Tally)
    for job_id, stage, state, count in rows:
        tally = found[job_id]
        tally.states[TrialState(state)] = tally.states.get(TrialState(state), 0) + count
        if stage == Stage.SEARCH and state in TOLD:
            tally.judged += count
    return found


def states(connection: Connection) -> dict[JobState, int]:
    """Return how many jobs are in each state."""
    rows = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    return {JobState(state): count for state, count in rows}


def _job(row: Row[Any], tally: Tally) -> Job:
    return Job(
        id=row.id,
        state=JobState(row.state),
        spec=JOB_SPEC.validate_python(row.spec),
        created=row.created,
        started=row.started,
        finished=row.finished,
        error=row.error,
        trials=tally.states,
        judged=tally.judged,
        budget=row.budget,
        best=row.best,
        notes=row.notes,
    )


def change(
    transaction: Transaction,
    job_id: str,
    name: str | None,
    notes: str | None,
    budget: int | None,
) -> Job:
    """Change a job's name, notes, or (while no dispatcher runs it) its budget."""
    connection = transaction.connection
    row = row_of(connection, job_id, lock=True)
    spec: dict[str, Any] = dict(row.spec)
    if name is not None:
        spec["name"] = name
    if budget is not None:
        if row.state not in _IDLE:
            raise StateConflict("change the budget", row.state, _IDLE, "pause the job first")
        spec["budget"] = {**spec["budget"], "trials" if row.kind == "tune" else "rules": budget}
    if notes is not None and "\0" in notes:
        raise ValueError("notes have a NUL character; leave it out")
    checked = JOB_SPEC.validate_python(spec)
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            name=checked.name,
            spec=spec,
            budget=budget_of(checked),
            notes=row.notes if notes is None else notes,
        )
    )
    return get(connection, job_id)


def enqueue(transaction: Transaction, job_id: str, points: Sequence[Point]) -> Job:
    """Add points to those that a tune job tries before its sampler's."""
    row = row_of(transaction.connection, job_id, lock=True)
    if row.state not in _GOING_ON:
        remedy = "submit a job that starts from it, with 'warm_start' and 'enqueue'"
        raise StateConflict("add points", row.state, _GOING_ON, remedy)
    spec: dict[str, Any] = dict(row.spec)
    spec["enqueue"] = [*spec.get("enqueue", ()), *points]
    JOB_SPEC.validate_python(spec)
    transaction.connection.execute(update(jobs).where(jobs.c.id == job_id).values(spec=spec))
    return get(transaction.connection, job_id)


def points(connection: Connection, job_id: str) -> tuple[Point, ...]:
    """Return all points that a tune job was ever given."""
    spec = connection.execute(select(jobs.c.spec).where(jobs.c.id == job_id)).scalar_one()
    return tuple(spec.get("enqueue", ()))


def untried(connection: Connection, row: Row[Any]) -> list[Point]:
    """Return the points of a job that have become no trial, in order."""
    waiting = list(row.spec.get("enqueue", ()))
    if not waiting:
        return []
    point = trials.c.proposal["memo", "point"].as_integer()
    asked = connection.execute(
        select(point).where(trials.c.job_id == row.id, point.is_not(None))
    ).scalars()
    taken = set(asked)
    return [point for place, point in enumerate(waiting) if place not in taken]


def clone(transaction: Transaction, job_id: str, name: str | None) -> Job:
    """Queue a new job with the same body."""
    spec = dict(row_of(transaction.connection, job_id).spec)
    spec["name"] = name if name is not None else spec["name"][:57] + " (copy)"
    return create(transaction, JOB_SPEC.validate_python(spec), None)[0]


def remove(transaction: Transaction, job_id: str) -> None:
    """Delete an ended job with all that it has; what it attested is attested by others or not."""
    connection = transaction.connection
    row = row_of(connection, job_id, lock=True)
    if row.state not in TERMINAL:
        remedy = "cancel the job first"
        raise StateConflict("delete the job", row.state, sorted(TERMINAL), remedy)
    orphaned = connection.execute(
        select(standings.c.rule_id).where(standings.c.job_id == job_id).distinct()
    ).scalars()
    affected = sorted(orphaned)
    connection.execute(delete(jobs).where(jobs.c.id == job_id))
    rules.restand(connection, affected)
