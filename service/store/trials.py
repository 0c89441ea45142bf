"""Trials as people and searches read them: lists, the best, curves, the history."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    Select,
    String,
    case,
    cast,
    func,
    select,
)

from dsl.candidate import Proposal, Stage
from dsl.outcome import TOLD, Measurement, Outcome, TrialState
from search.strategy import Known
from service.resources import Curve, Page, Trial
from service.store import jobs
from service.store.errors import NotFound
from service.store.known import known as known_outcomes
from service.store.paging import fetch
from service.store.query import Family, Field, Listing, Query
from service.store.tables import snapshots, trials


@dataclass(frozen=True)
class History:
    """All that a search needs to go on: what was asked, what came of it, what was learnt."""

    trials: list[tuple[Proposal, Outcome | None]]
    """In the order of numbers; None where no outcome is known, FAILED trials among them."""

    snapshot: bytes | None
    """The strategy's own state after the last outcome."""

    known: Known = field(default_factory=dict)
    """What the job and earlier ones found out under the same conditions."""


def _number_in(column: Any, *path: str) -> Family:
    def family(backend: str, name: str) -> Field:
        words: ColumnElement[Any]
        if backend == "sqlite":
            place = "$." + ".".join(f'"{part}"' for part in (*path, name))
            kind, found = func.json_type(column, place), func.json_extract(column, place)
            number = case((kind.in_(("integer", "real")), cast(found, Double)), else_=None)
            words = cast(found, String)
        else:
            words = func.json_extract_path_text(column, *path, name, type_=String())
            kind = func.json_typeof(func.json_extract_path(column, *path, name))
            number = case((kind == "number", cast(words, Double)), else_=None)
        return Field(number, "real", nullable=True, as_text=words)

    return family


LISTING = Listing(
    name="trials",
    fields={
        "number": Field(trials.c.number, "whole"),
        "state": Field(trials.c.state, "text", choices=tuple(TrialState)),
        "stage": Field(trials.c.stage, "text", choices=tuple(Stage)),
        "task": Field(trials.c.task, "text"),
        "label": Field(trials.c.label, "text", nullable=True),
        "rule_id": Field(trials.c.rule_id, "text"),
        "value": Field(trials.c.value, "real", nullable=True),
        "step": Field(trials.c.step, "whole"),
        "lr": Field(trials.c.lr, "real", nullable=True),
        "reason": Field(trials.c.reason, "text", nullable=True),
        "attempt": Field(trials.c.attempt, "whole"),
        "cost_steps": Field(trials.c.cost_steps, "whole"),
        "cost_seconds": Field(trials.c.cost_seconds, "real"),
        "created": Field(trials.c.created, "instant"),
        "finished": Field(trials.c.finished, "instant", nullable=True),
    },
    key=("number",),
    order="number",
    families={
        "parameters": _number_in(trials.c.proposal, "parameters"),
        "metrics": _number_in(trials.c.outcome, "metrics"),
    },
)

_SHOWN = [column for column in trials.c if column.name not in ("curve", "losses")]


def history(connection: Connection, job_id: str) -> History:
    """Return all that was asked of a job, what came of it, and what others know of the same."""
    job = jobs.row_of(connection, job_id)
    rows = connection.execute(
        select(trials.c.state, trials.c.proposal, trials.c.outcome, trials.c.curve)
        .where(trials.c.job_id == job_id)
        .order_by(trials.c.number)
    )
    past: list[tuple[Proposal, Outcome | None]] = []
    for state, proposal, outcome, curve in rows:
        told = None
        if state in TOLD:
            told = Outcome.model_validate({**outcome, "curve": curve or ()})
        past.append((Proposal.model_validate(proposal), told))
    snapshot = connection.execute(
        select(snapshots.c.data).where(snapshots.c.job_id == job_id)
    ).scalar_one_or_none()
    return History(past, snapshot, known_outcomes(connection, job))


def page(connection: Connection, job_id: str, query: Query) -> Page[Trial]:
    """Return a page of a job's trials, by number unless asked otherwise."""
    jobs.row_of(connection, job_id)
    statement = select(*_SHOWN).where(trials.c.job_id == job_id)
    found = fetch(connection, statement, LISTING, query, scope=job_id)
    return Page[Trial](
        items=tuple(map(_trial, found.rows)),
        next_page_token=found.next_page_token,
        total=found.total,
    )


def get(connection: Connection, job_id: str, number: int) -> Trial:
    """Return one trial."""
    jobs.row_of(connection, job_id)
    row = None
    if 0 <= number < 2**63:
        row = connection.execute(
            select(*_SHOWN).where(trials.c.job_id == job_id, trials.c.number == number)
        ).one_or_none()
    if row is None:
        raise NotFound(f"trial of job {job_id}", number)
    return _trial(row)


def recorded(connection: Connection, job_id: str, number: int) -> tuple[Proposal, Outcome | None]:
    """Return what was asked and what came of it, without its curve; None if nothing yet."""
    get(connection, job_id, number)
    row = connection.execute(
        select(trials.c.state, trials.c.proposal, trials.c.outcome).where(
            trials.c.job_id == job_id, trials.c.number == number
        )
    ).one()
    told = Outcome.model_validate(row.outcome) if row.state in TOLD else None
    return Proposal.model_validate(row.proposal), told


def best(connection: Connection, job_id: str, count: int, stage: Stage) -> tuple[Trial, ...]:
    """Return the `count` best COMPLETE trials of a stage, the best first."""
    job = jobs.row_of(connection, job_id)
    statement = select(*_SHOWN).where(
        trials.c.job_id == job_id,
        trials.c.stage == stage,
        trials.c.state == TrialState.COMPLETE,
    )
    ordered = _by_value(statement, job.direction).limit(max(0, min(count, 10_000)))
    return tuple(map(_trial, connection.execute(ordered)))


def passed_over(connection: Connection, job_id: str) -> int:
    """Return how many rules did as well in the search as one that was compared, and were not.

    They are near-copies of better ones or of baselines (`search.funnel`).
    """
    job = jobs.row_of(connection, job_id)
    own = trials.c.job_id == job_id
    compared = select(trials.c.rule_id).where(
        own, trials.c.stage == Stage.COMPARISON, trials.c.label.is_(None)
    )
    searched = select(trials.c.rule_id.in_(compared)).where(
        own, trials.c.stage == Stage.SEARCH, trials.c.state == TrialState.COMPLETE
    )
    taken = list(connection.execute(_by_value(searched, job.direction)).scalars())
    last = max((place for place, was in enumerate(taken) if was), default=-1)
    return taken[: last + 1].count(False)


def _by_value(statement: Select[Any], direction: str) -> Select[Any]:
    value = trials.c.value if direction == "minimize" else trials.c.value.desc()
    return statement.order_by(trials.c.value.is_(None), value, trials.c.number)


def curves(
    connection: Connection, job_id: str, numbers: Sequence[int] | None, limit: int
) -> tuple[Curve, ...]:
    """Return the curves of these trials, or of the search's best `limit`, in order of numbers."""
    job = jobs.row_of(connection, job_id)
    statement = select(trials.c.number, trials.c.state, trials.c.curve).where(
        trials.c.job_id == job_id, trials.c.curve.is_not(None)
    )
    if numbers is None:  # other stages' losses may be of other tasks
        statement = statement.where(trials.c.stage == Stage.SEARCH)
    else:
        held = [number for number in numbers if 0 <= number < 2**63]
        statement = statement.where(trials.c.number.in_(held))
    ordered = _by_value(statement, job.direction).limit(max(0, min(limit, 10_000)))
    rows = sorted(connection.execute(ordered), key=lambda row: row.number)
    return tuple(
        Curve(
            number=row.number,
            state=TrialState(row.state),
            points=tuple(Measurement.model_validate(point) for point in row.curve),
        )
        for row in rows
    )


def _trial(row: Row[Any]) -> Trial:
    told = row.outcome or {}
    candidate = row.proposal["candidate"]
    return Trial(
        job_id=row.job_id,
        number=row.number,
        state=TrialState(row.state),
        stage=Stage(row.stage),
        task=row.task,
        label=row.label,
        rule_id=row.rule_id,
        rule=candidate["rule"],
        decay=candidate["decay"],
        weight_decay=candidate["weight_decay"],
        schedule=candidate["schedule"]["name"],
        parameters=row.proposal["parameters"],
        value=row.value,
        reason=row.reason,
        step=row.step,
        lr=row.lr,
        metrics=told.get("metrics", {}),
        spread=told.get("spread", {}),
        seeds=told.get("seeds", 1),
        cost_steps=row.cost_steps,
        cost_seconds=row.cost_seconds,
        slots=told.get("slots", 0),
        batch_size=told.get("batch_size", 64),
        precision=told.get("precision", "float32"),
        one_by_one=told.get("one_by_one", False),
        obstacle=told.get("obstacle"),
        origin=told.get("origin"),
        replay=told.get("replay"),
        sampled=row.proposal["memo"].get("sampled"),
        attempt=row.attempt,
        created=row.created,
        finished=row.finished,
    )
