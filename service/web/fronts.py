"""The front of a job with several objectives: over REST, and as a table to take home."""

import csv
import io
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from dsl.figures import COSTS, figure
from service.jobs import TuneJob
from service.resources import Front, FrontEntry, Job
from service.store.store import Store
from service.store.trials import LISTING
from service.web.access import JobId, StoreDep
from service.web.digest import Digests, several
from service.web.problems import PROBLEMS, Problem

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=PROBLEMS)


def _digests(request: Request) -> Digests:
    digests: Digests = request.app.state.digests
    return digests


DigestsDep = Annotated[Digests, Depends(_digests)]


def front_of(store: Store, digests: Digests, job: Job) -> Front:
    """Return a job's front, without trials where it has but one objective."""
    objectives = several(job)
    entries = []
    for number in digests.of(job).front:
        trial = store.trial(job.id, number)
        values = [figure(trial, objective.metric) for objective in objectives]
        known = tuple(value for value in values if value is not None)
        entries.append(FrontEntry(values=known, trial=trial))
    return Front(objectives=objectives, items=tuple(entries))


def aims_of(job: Job) -> dict[str, str | None]:
    """Return what a job's trials are judged by beside its objective and what every table shows.

    That is its other objectives and what its constraints are about, by name, each with the field
    by which trials are ordered, None where there is none.
    """
    named = job.spec.figures if isinstance(job.spec, TuneJob) else ()
    others = [name for name in named if name not in ("cost_seconds", "step")]
    fields = {name: f"metrics.{name}" for name in others if name not in COSTS}
    return {name: fields.get(name, name if name in LISTING.fields else None) for name in others}


@router.get(
    "/{job_id}/front",
    summary="The Pareto front",
    response_model=Front,
    responses={200: {"content": {"text/csv": {}}, "description": "The front."}},
)
def front(
    job_id: JobId,
    store: StoreDep,
    digests: DigestsDep,
    format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002  (as for exports)
) -> Front | Response:
    """Return the COMPLETE trials of the search that no other beats in all objectives.

    They are in order of the first objective, the best first. A trial that breaks a constraint is
    INFEASIBLE and never among them. A job with one objective has no front (409).
    """
    job = store.job(job_id)
    if not several(job):
        raise Problem(409, f"job {job_id} has one objective; GET /jobs/{job_id}/best has its best")
    found = front_of(store, digests, job)
    if format == "json":
        return found
    name = f"front-{job_id}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


def _csv(found: Front) -> str:
    """Return a row for each trial: its number, every objective, the rate, the other parameters."""
    names = list(dict.fromkeys(name for each in found.items for name in each.trial.parameters))
    names = [name for name in names if name != "lr"]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", *(each.metric for each in found.objectives), "lr", *names])
    for entry in found.items:
        point = [entry.trial.parameters.get(name, "") for name in names]
        rows.writerow([entry.trial.number, *entry.values, entry.trial.lr, *point])
    return text.getvalue()
