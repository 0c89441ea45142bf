"""Jobs over REST: submit, look, steer."""

import threading
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import Field, StringConstraints

from dsl.errors import RuleError
from dsl.schema import Frozen
from search.space import Point
from service.candidates import faults
from service.evaluations import evaluation_of
from service.importance import Importance, importance_of
from service.jobs import MOST_ENQUEUED, Count, DiscoverJob, JobSpec, Name, TuneJob
from service.resources import TERMINAL, Curve, Job, Page, Replay, Trial
from service.store.errors import NotFound
from service.store.query import Query as StoreQuery
from service.store.store import Store
from service.warm_start import chosen
from service.web.access import JobId, ListingDep, StoreDep, TrialNumber
from service.web.pointers import pointer_of
from service.web.problems import PROBLEMS, FieldError, Problem, rule_problem
from workers.protocol import NoPruner

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=PROBLEMS)

IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
]
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]


class JobPatch(Frozen):
    """What can be changed of a job; fields left out stay as they are."""

    name: Name | None = None
    notes: Text | None = None
    budget: Count | None = None
    """New number of trials (tune) or rules (discover); not below what has been judged."""


class Points(Frozen):
    """Points for a tune job to try next."""

    enqueue: Annotated[tuple[Point, ...], Field(min_length=1, max_length=MOST_ENQUEUED)]


class ClonePatch(Frozen):
    """What a clone may have of its own."""

    name: Name | None = None


class Valid(Frozen):
    """The answer to `validate_only`: the body as it would be kept, with every default."""

    valid: Literal[True] = True
    spec: JobSpec


class Items(Frozen):
    """A list that is never paged."""


class Trials(Items):
    """The best trials, best first."""

    items: tuple[Trial, ...]


class Curves(Items):
    """Learning curves."""

    items: tuple[Curve, ...]


def _refuse_nul(spec: Any) -> None:
    # PostgreSQL's text cannot hold U+0000; SQLite's can. Refused for both.
    if "\\u0000" in spec.model_dump_json():
        detail = "a text of the body holds the character U+0000, which cannot be stored"
        raise Problem(422, detail, [FieldError(pointer="#", detail=detail)])


def _refuse_unable(spec: Any, known_points: int = 0) -> None:
    """Raise a Problem that tells the faults; points are counted from those already known."""
    try:
        found = list(faults(spec))
    except RuleError as error:
        raise rule_problem(error, "#/rule") from error
    errors = [
        FieldError(pointer=pointer_of(_counted(where, known_points)), detail=why)
        for where, why in found
    ]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise Problem(422, f"{errors[0].pointer}: {errors[0].detail}{more}", errors)


def _warmed(spec: TuneJob | DiscoverJob, store: Store) -> TuneJob | DiscoverJob:
    """Return the body with the trials of the job that it starts from."""
    warm = spec.warm_start if isinstance(spec, TuneJob) else None
    if not isinstance(spec, TuneJob) or warm is None or warm.job is None or warm.trials:
        return spec
    try:
        earlier = store.job(warm.job)
    except NotFound as error:
        raise _unfit(f"there is no job '{warm.job}'; give the id of an ended tune job") from error
    alike = isinstance(earlier.spec, TuneJob) and all(
        getattr(earlier.spec, field) == getattr(spec, field) for field in ("task", "objective")
    )
    if not alike or earlier.state not in TERMINAL:
        raise _unfit(
            f"job '{warm.job}' is a {earlier.spec.kind} job on {earlier.spec.task.name}, "
            f"{earlier.state}; allowed: an ended tune job with the same task and objective"
        )
    query = StoreQuery(page_size=1000, filter="state = COMPLETE OR state = INFEASIBLE")
    found = store.trials(earlier.id, query).items
    trials = chosen(found, spec)
    if not trials:
        raise _unfit(f"no finished trial of job '{warm.job}' lies in the space; widen the space")
    return spec.model_copy(update={"warm_start": warm.model_copy(update={"trials": trials})})


def _unfit(why: str) -> Problem:
    return Problem(
        422, f"#/warm_start/job: {why}", [FieldError(pointer="#/warm_start/job", detail=why)]
    )


def _counted(where: tuple[str | int, ...], known: int) -> tuple[str | int, ...]:
    match where:
        case ("enqueue", int(place), *rest):
            return ("enqueue", place - known, *rest)
    return where


@router.post(
    "",
    status_code=201,
    response_model=Job | Valid,
    summary="Submit a job",
    responses={200: {"description": "Already submitted with this key, or only validated."}},
)
def submit(
    spec: Annotated[JobSpec, Body()],
    response: Response,
    store: StoreDep,
    idempotency_key: IdempotencyKey = None,
    validate_only: Annotated[bool, Query()] = False,
) -> Job | Valid:
    """Queue a tune or discover job.

    With the same `Idempotency-Key` and body the job of the first request is returned (200), so
    a request can be repeated safely. `validate_only` checks the body and writes nothing.
    """
    _refuse_nul(spec)
    spec = _warmed(spec, store)
    _refuse_unable(spec)
    if validate_only:
        response.status_code = 200
        return Valid(spec=spec)
    job, created = store.create_job(spec, idempotency_key=idempotency_key)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    if not created:
        response.status_code = 200
    return job


@router.get("", summary="List jobs")
def jobs(listing: ListingDep, store: StoreDep) -> Page[Job]:
    """List jobs, newest first unless `order_by` says otherwise."""
    return store.jobs(listing.query())


@router.get("/{job_id}", summary="One job")
def job(job_id: JobId, store: StoreDep) -> Job:
    """Return a job and how far it is."""
    return store.job(job_id)


@router.patch("/{job_id}", summary="Change name, notes or budget")
def update(job_id: JobId, patch: JobPatch, store: StoreDep) -> Job:
    """Change a job's name, notes or budget."""
    return store.update_job(job_id, name=patch.name, notes=patch.notes, budget=patch.budget)


@router.delete("/{job_id}", status_code=204, summary="Delete a finished job")
def delete(job_id: JobId, store: StoreDep) -> None:
    """Delete a job that has ended, with its trials; its rules stay."""
    store.delete_job(job_id)


@router.post("/{job_id}:clone", status_code=201, summary="Submit the same job again")
def clone(
    job_id: JobId, response: Response, store: StoreDep, patch: ClonePatch | None = None
) -> Job:
    """Queue a new job with the same body."""
    copy = store.clone_job(job_id, name=None if patch is None else patch.name)
    response.headers["Location"] = f"/api/v1/jobs/{copy.id}"
    return copy


@router.post("/{job_id}:{action}", summary="Pause, resume or cancel")
def steer(job_id: JobId, action: Literal["pause", "resume", "cancel"], store: StoreDep) -> Job:
    """Ask for a change of state; a running job passes through PAUSING or CANCELLING."""
    return store.request(job_id, action)


@router.get("/{job_id}/trials", summary="List trials")
def trials(job_id: JobId, listing: ListingDep, store: StoreDep) -> Page[Trial]:
    """List a job's trials, by number unless `order_by` says otherwise."""
    return store.trials(job_id, listing.query())


@router.post("/{job_id}/trials", summary="Enqueue points")
def enqueue(job_id: JobId, points: Points, store: StoreDep) -> Job:
    """Add points that a tune job tries before its sampler's, also while it runs.

    What a point leaves out the sampler chooses. A point that is accepted is tried, unless the job
    fails or is cancelled: where the budget has no trial left for it, it is one more.
    """
    found = store.job(job_id)
    if not isinstance(found.spec, TuneJob):
        raise Problem(409, f"job {job_id} is a discover job: it has no points to try")
    known, together = len(found.spec.enqueue), found.spec.enqueue + points.enqueue
    trials = max(found.spec.budget.trials, len(together))
    budget = found.spec.budget.model_copy(update={"trials": trials})
    _refuse_unable(found.spec.model_copy(update={"enqueue": together, "budget": budget}), known)
    return store.enqueue(job_id, points.enqueue)


@router.get("/{job_id}/trials/{number}", summary="One trial")
def trial(job_id: JobId, number: TrialNumber, store: StoreDep) -> Trial:
    """Return one trial."""
    return store.trial(job_id, number)


@router.get("/{job_id}/trials/{number}/replay", summary="All that runs a trial again")
def replay(job_id: JobId, number: TrialNumber, store: StoreDep) -> Replay:
    """Return how a trial was judged, what was tried and what came of it (`rulesmith replay`).

    One that has not ended is refused (409), and one under a pruner, which compares those that are
    trained together: it cannot be run again alone.
    """
    proposal, outcome = store.recorded(job_id, number)
    if outcome is None:
        raise Problem(409, f"trial {number} has no outcome yet; one that has ended is replayed")
    whole = evaluation_of(store.job(job_id).spec)
    protocol = whole.protocols[proposal.stage]
    if not isinstance(protocol.pruner, NoPruner):
        raise Problem(
            409,
            f"trial {number} ran under a pruner, which compares those that are trained together, "
            "so it cannot be run again alone; trials of a comparison can",
        )
    own = whole.model_copy(update={"protocols": {proposal.stage: protocol}})
    return Replay(evaluation=own, proposal=proposal, outcome=outcome)


@router.get("/{job_id}/best", summary="The best trials")
def best(job_id: JobId, store: StoreDep, count: Annotated[int, Query(ge=1, le=1000)] = 1) -> Trials:
    """Return the best COMPLETE trials of the search, best first; none yet gives an empty list."""
    return Trials(items=store.best(job_id, count))


@router.get("/{job_id}/curves", summary="Learning curves")
def curves(
    job_id: JobId,
    store: StoreDep,
    numbers: Annotated[
        str | None,
        Query(
            max_length=4096,
            pattern=r"^\d{1,18}(,\d{1,18})*$",
            description="Trial numbers separated by commas; without it, the best of the search.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Curves:
    """Return learning curves of at most 64 points each."""
    chosen = None if numbers is None else [int(number) for number in numbers.split(",")]
    return Curves(items=store.curves(job_id, numbers=chosen, limit=limit))


class _ImportanceCache:
    """The last answer for each job, kept while its number of COMPLETE trials stands."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[int, Importance]] = {}

    def get(self, store: Store, found: Job) -> Importance:
        complete = store.trials(found.id, StoreQuery(page_size=1, filter="state = COMPLETE")).total
        with self._lock:
            known = self._answers.get(found.id)
        if known is not None and known[0] == complete:
            return known[1]
        answer = importance_of(found.spec, _sample(store, found.id))
        with self._lock:
            if len(self._answers) >= 256:
                self._answers.clear()
            self._answers[found.id] = (complete, answer)
        return answer


def _sample(store: Store, job_id: str, most: int = 1000) -> tuple[Trial, ...]:
    # PED-ANOVA's time grows with the trials (8 s at 10,000); the first 1,000 say enough.
    query = StoreQuery(page_size=most, filter="state = COMPLETE", order_by="number")
    return store.trials(job_id, query).items


_importance = _ImportanceCache()


@router.get("/{job_id}/importance", summary="Which parameters matter")
def importance(job_id: JobId, store: StoreDep) -> Importance:
    """Return each parameter's share in reaching the best tenth of the trials (PED-ANOVA)."""
    found = store.job(job_id)
    if found.spec.kind != "tune":
        raise Problem(409, f"job {job_id} is a discover job: it has no parameters to weigh")
    return _importance.get(store, found)
