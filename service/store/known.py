"""What trials found out, for jobs that ask the same under the same conditions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_

from dsl.candidate import Proposal, Stage
from dsl.feasibility import bounded, unbounded
from dsl.figures import Constraint, figure
from dsl.outcome import Origin, Outcome
from search.strategy import Known
from service.evaluations import conditions
from service.jobs import JOB_SPEC, TuneJob
from service.store.tables import trials

MOST = 50_000
"""Outcomes that a job is told of at its start, the newest first."""

CHUNK = 500
"""Curves that are looked up at once."""


def known(connection: Connection, job: Row[Any]) -> Known:
    """Return what is known under a job's conditions, by stage and behaviour, without curves.

    What the job's own trials found out before it was stopped is among it.
    """
    found: dict[Stage, dict[str, Outcome]] = {}
    spec = JOB_SPEC.validate_python(job.spec)
    constraints = spec.constraints if isinstance(spec, TuneJob) else ()
    for stage, digest in conditions(spec).items():
        rows = connection.execute(
            select(trials.c.behaviour, trials.c.job_id, trials.c.number, trials.c.outcome)
            .where(trials.c.conditions == digest)
            .order_by(trials.c.finished.desc())
            .limit(MOST)
        )
        found[stage] = {}
        for row in rows:
            origin = Origin(job_id=row.job_id, number=row.number)
            outcome = Outcome.model_validate({**row.outcome, "origin": origin})
            if _tells(outcome, constraints):
                # Whatever bounds the earlier job had, here it is this one's that count.
                found[stage][row.behaviour] = bounded(unbounded(outcome), constraints)
    return found


def _tells(outcome: Outcome, constraints: Sequence[Constraint]) -> bool:
    """Whether it has what the constraints are about, which an earlier version may not measure."""
    return not outcome.metrics or all(
        figure(outcome, each.metric) is not None for each in constraints
    )


def enter(
    job: Row[Any], told: Sequence[tuple[Proposal, Outcome]]
) -> dict[int, tuple[str | None, str | None]]:
    """Return for each trial's number the conditions and behaviour under which it will be found.

    What was taken over is not found again: its origin is.
    """
    digests = conditions(JOB_SPEC.validate_python(job.spec))
    return {
        proposal.number: (digests[proposal.stage], proposal.behaviour)
        if proposal.behaviour and proposal.stage in digests and outcome.origin is None
        else (None, None)
        for proposal, outcome in told
    }


def curves(connection: Connection, outcomes: Sequence[Outcome]) -> dict[int, Any]:
    """Return the origins' curves by the number of the trial that took the outcome over."""
    wanted = {
        (outcome.origin.job_id, outcome.origin.number): outcome.number
        for outcome in outcomes
        if outcome.origin is not None
    }
    keys = sorted(wanted)
    found: dict[int, Any] = {}
    place = tuple_(trials.c.job_id, trials.c.number)
    for start in range(0, len(keys), CHUNK):
        rows = connection.execute(
            select(trials.c.job_id, trials.c.number, trials.c.curve).where(
                place.in_(keys[start : start + CHUNK])
            )
        )
        found |= {wanted[row.job_id, row.number]: row.curve for row in rows}
    return found
