"""Trials as a claim records them: asked, told, lost. Each batch is one fenced transaction."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, select, update

from dsl.candidate import Proposal, Stage
from dsl.outcome import TOLD, Outcome, TrialState
from service.store import events, jobs, known, rules
from service.store.database import Transaction, upsert
from service.store.errors import NotFound
from service.store.queue import Claim, fence
from service.store.tables import jobs as job_table
from service.store.tables import snapshots, trials

MAX_LOSSES = 3
"""How often a trial may be lost with its worker; then it has FAILED."""


def asked(transaction: Transaction, held: Claim, proposals: Sequence[Proposal]) -> None:
    """Write that these proposals have gone to a worker. Told ones are left as they are."""
    job = fence(transaction, held)
    if not proposals:
        return
    connection, now = transaction.connection, transaction.now
    ids = rules.enter(transaction, [proposal.candidate.rule for proposal in proposals])
    rows = [
        {
            "job_id": held.job_id,
            "number": proposal.number,
            "state": TrialState.RUNNING,
            "stage": proposal.stage,
            "task": proposal.task or job.task,
            "label": rules.label_of(job, proposal),
            "rule_id": ids[proposal.candidate.rule],
            "step": 0,
            "lr": proposal.candidate.lr,
            "cost_steps": 0,
            "cost_seconds": 0.0,
            "attempt": 1,
            "losses": 0,
            "created": now,
            "proposal": proposal.model_dump(mode="json"),
        }
        for proposal in proposals
    ]
    connection.execute(
        upsert(connection, trials).on_conflict_do_update(
            index_elements=[trials.c.job_id, trials.c.number],
            set_={
                "state": TrialState.RUNNING,
                "attempt": trials.c.attempt + 1,
                "finished": None,
                "reason": None,
            },
            where=and_(*(trials.c.state != state for state in TOLD)),
        ),
        rows,
    )
    _tell(transaction, held.job_id, [p.number for p in proposals])


def told(
    transaction: Transaction, held: Claim, outcomes: Sequence[Outcome], snapshot: bytes | None
) -> None:
    """Write what came of proposals. A trial's first outcome stands; a second changes nothing."""
    row = fence(transaction, held)
    connection, now = transaction.connection, transaction.now
    if snapshot is not None:
        _keep(transaction, held.job_id, snapshot)
    if not outcomes:
        return
    states = _states(connection, held.job_id, [outcome.number for outcome in outcomes])
    fresh = {o.number: o for o in reversed(outcomes) if states[o.number] not in TOLD}
    if not fresh:
        return
    found = _asked(connection, held.job_id, list(fresh))
    places = known.enter(row, [(found[number], outcome) for number, outcome in fresh.items()])
    curves = known.curves(connection, list(fresh.values()))
    rows = []
    for number, outcome in sorted(fresh.items()):
        columns = _columns(outcome, row)
        columns["curve"] = columns["curve"] or curves.get(number)
        columns["conditions"], columns["behaviour"] = places[number]
        rows.append({**columns, "finished": now})
    connection.execute(
        update(trials).where(
            trials.c.job_id == held.job_id, trials.c.number == bindparam("at_number")
        ),
        rows,
    )
    complete = [
        (found[number], outcome)
        for number, outcome in sorted(fresh.items())
        if outcome.state is TrialState.COMPLETE
    ]
    rules.attest(connection, row, complete)
    values = [
        outcome.metrics[row.metric]
        for proposal, outcome in complete
        if proposal.stage is Stage.SEARCH
    ]
    if row.best is not None:
        values.append(row.best)
    choose = min if row.direction == "minimize" else max
    connection.execute(
        update(job_table)
        .where(job_table.c.id == held.job_id)
        .values(best=choose(values, default=None), crashes=0)
    )
    _tell(transaction, held.job_id, list(fresh))


def _columns(outcome: Outcome, job: Row[Any]) -> dict[str, Any]:
    """Return a told trial's new columns.

    Raises:
        ValueError: the state is not one that a worker reports, or a COMPLETE one lacks the
            objective's metric.
    """
    if outcome.state not in TOLD:
        raise ValueError(
            f"trial {outcome.number} is told as {outcome.state}; allowed: {', '.join(TOLD)}"
        )
    value = None
    if outcome.state is not TrialState.INFEASIBLE:
        value = outcome.metrics.get(job.metric)
    if outcome.state is TrialState.COMPLETE and value is None:
        raise ValueError(
            f"trial {outcome.number} is COMPLETE without {job.metric}, the job's objective; "
            f"it has {', '.join(sorted(outcome.metrics)) or 'no metrics'}"
        )
    return {
        "at_number": outcome.number,
        "state": outcome.state,
        "value": value,
        "reason": _printable(outcome.reason),
        "step": outcome.step,
        "lr": outcome.lr,
        "cost_steps": outcome.cost_steps,
        "cost_seconds": outcome.cost_seconds,
        "outcome": outcome.model_dump(mode="json", exclude={"curve"}),
        "curve": [point.model_dump(mode="json") for point in outcome.curve] or None,
    }


def _printable(reason: str | None) -> str | None:
    """PostgreSQL refuses NUL in a text, and a reason may quote anything."""
    return None if reason is None else reason.replace("\0", " ")[:2000]


def lost(
    transaction: Transaction, held: Claim, numbers: Sequence[int], error: str
) -> tuple[int, ...]:
    """Write that a worker died with these trials; return those that have now FAILED for good."""
    fence(transaction, held)
    connection = transaction.connection
    states = _states(connection, held.job_id, numbers)
    gone = sorted(number for number in set(numbers) if states[number] not in TOLD)
    if not gone:
        return ()
    over = trials.c.losses + 1 >= MAX_LOSSES
    failed = connection.execute(
        update(trials)
        .where(trials.c.job_id == held.job_id, trials.c.number.in_(gone))
        .values(
            losses=trials.c.losses + 1,
            state=case((over, TrialState.FAILED), else_=TrialState.QUEUED),
            finished=case((over, transaction.now), else_=None),
            reason=_printable(error),
        )
        .returning(trials.c.number, trials.c.state)
    ).all()
    _tell(transaction, held.job_id, gone)
    return tuple(sorted(number for number, state in failed if state == TrialState.FAILED))


def _keep(transaction: Transaction, job_id: str, snapshot: bytes) -> None:
    values = {"data": snapshot, "created": transaction.now}
    transaction.connection.execute(
        upsert(transaction.connection, snapshots)
        .values(job_id=job_id, **values)
        .on_conflict_do_update(index_elements=[snapshots.c.job_id], set_=values)
    )


def _states(connection: Connection, job_id: str, numbers: Iterable[int]) -> dict[int, TrialState]:
    """Return the states of these trials.

    Raises:
        NotFound: one was never asked.
    """
    wanted = sorted(set(numbers))
    rows = connection.execute(
        select(trials.c.number, trials.c.state).where(
            trials.c.job_id == job_id, trials.c.number.in_(wanted)
        )
    )
    found = {number: TrialState(state) for number, state in rows}
    for number in wanted:
        if number not in found:
            raise NotFound(f"trial of job {job_id}", number)
    return found


def _asked(connection: Connection, job_id: str, numbers: Sequence[int]) -> dict[int, Proposal]:
    rows = connection.execute(
        select(trials.c.number, trials.c.proposal).where(
            trials.c.job_id == job_id, trials.c.number.in_(numbers)
        )
    )
    return {number: Proposal.model_validate(proposal) for number, proposal in rows}


def _tell(transaction: Transaction, job_id: str, numbers: Sequence[int]) -> None:
    """Write the batch's one event."""
    connection = transaction.connection
    rows = connection.execute(
        select(trials.c.number, trials.c.state, trials.c.value)
        .where(trials.c.job_id == job_id, trials.c.number.in_(numbers))
        .order_by(trials.c.number)
    ).all()
    best = connection.execute(select(job_table.c.best).where(job_table.c.id == job_id)).scalar_one()
    tally = jobs.tallies(connection, [job_id])[job_id]
    body = {
        "numbers": [row.number for row in rows],
        "states": [row.state for row in rows],
        "values": [row.value for row in rows],
        "best": best,
        "counts": tally.states,
        "judged": tally.judged,
    }
    events.append(connection, job_id, "trials", body, transaction.now)
