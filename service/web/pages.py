"""The dashboard: pages rendered on the server, whose parts htmx renews as a job's events arrive."""

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from dsl.candidate import Stage
from dsl.errors import RuleError
from dsl.figures import figure
from dsl.outcome import TrialState
from service.resources import TERMINAL, Job, JobState, RuleEntry
from service.store import query as queries
from service.store.errors import NotFound, QueryError, StateConflict
from service.store.store import Store
from service.web import typography
from service.web.access import JobId, TrialNumber, checked_identifier
from service.web.claims import brief, paragraphs
from service.web.columns import curve_columns, job_columns, trial_curve
from service.web.digest import Digest, Digests
from service.web.folding import folded
from service.web.formula import formula, symbol
from service.web.fronts import aims_of, front_of
from service.web.points import add_form
from service.web.rules import python_file
from service.web.standings import Board, Row, board, from_standing, from_trial, ranked
from service.web.unseen import crossing
from workers.tasks.registry import TASKS

HERE = Path(__file__).parent
JOBS_PER_PAGE = 25
TRIALS_PER_PAGE = 20
SEARCH_FIRST = "stage desc, number desc"
"""The newest trials of the search first, and those of a comparison, which stand above, last."""

ACTIONS = {
    "pause": frozenset({JobState.QUEUED, JobState.RUNNING}),
    "resume": frozenset({JobState.PAUSED}),
    "cancel": frozenset({JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}),
}
"""Which buttons a job in each state has."""

Text = Annotated[str, Query(max_length=512)]
Token = Annotated[str | None, Query(max_length=1024)]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=typography.figure,
        setting=typography.setting,
        count=typography.count,
        duration=typography.duration,
        spec_json=typography.spec_json,
        python=typography.python,
        folded=folded,
        formula=formula,
        symbol=symbol,
        brief=brief,
        paragraphs=paragraphs,
    )
    environment.globals.update(
        percent=typography.percent,
        figure_of=figure,
        absent=typography.ABSENT,
        link=_link,
        job_states=[state.value for state in JobState],
        trial_states=[state.value for state in TrialState],
        actions=ACTIONS,
        search_first=SEARCH_FIRST,
        terminal=TERMINAL,
    )
    return environment


def _link(path: str, **parameters: str | int | None) -> str:
    """Return `path` with those parameters that have a value."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


_TEMPLATES = _environment()


def _page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    now = datetime.now(UTC)
    context.setdefault("notice", None)
    text = _TEMPLATES.get_template(template).render(
        ago=lambda moment: typography.ago(moment, now), now=now, **context
    )
    # The same address is a page or a part of one, by a header: caches must not confuse them.
    return HTMLResponse(text, status, headers={"Cache-Control": "no-cache", "Vary": "HX-Request"})


class _PageRoute(APIRoute):
    """Answers with a page where the rest of the service answers with problem+json."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except NotFound as error:
                return _page("problem.html", 404, title="Not found", detail=str(error))
            except StateConflict as error:
                return _page("problem.html", 409, title="Not possible now", detail=str(error))
            except QueryError as error:
                return _page("problem.html", 422, title="Not understood", detail=str(error))
            except RequestValidationError as error:
                detail = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
                return _page("problem.html", 422, title="Not understood", detail=detail)

        return answer


def router(store: Store, digests: Digests) -> APIRouter:
    """Return the routes of the dashboard over `store`."""
    routes = APIRouter(route_class=_PageRoute, include_in_schema=False)
    _add_jobs(routes, store)
    _add_job(routes, store, digests)
    _add_figures(routes, store, digests)
    _add_actions(routes, store)
    add_form(routes, store)
    _add_rules(routes, store)
    _add_static(routes)
    return routes


def _add_jobs(routes: APIRouter, store: Store) -> None:
    @routes.get("/")
    def jobs(
        request: Request, state: JobState | None = None, page_token: Token = None
    ) -> HTMLResponse:
        page = store.jobs(
            queries.Query(
                page_size=JOBS_PER_PAGE,
                page_token=page_token,
                filter=f"state = {state.value}" if state else "",
                order_by="created desc",
            )
        )
        return _page(
            "jobs.html",
            page=page,
            state=state,
            page_token=page_token,
            active=any(job.state not in TERMINAL for job in page.items),
            address=str(request.base_url).rstrip("/"),
        )


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far a job is, and what it has cost."""

    ended: int
    of: int
    elapsed: float | None
    rate: float | None
    """Search trials ended per second."""

    left: float | None
    """Seconds until the search ends, at that rate."""

    seconds: float
    steps: int
    failures: list[tuple[TrialState, str, int]]
    ends: dict[TrialState, int]
    """Trials of the search by state."""

    untrained: int
    """Of the infeasible ones, those rejected before any training."""

    taken_over: int
    """Trials of the search whose outcome an earlier trial had found."""


def _progress(job: Job, digest: Digest) -> _Progress:
    search = digest.search()
    ended = sum(
        point.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE)
        for point in search
    )
    elapsed = rate = left = None
    if job.started is not None:
        aware = [m if m.tzinfo else m.replace(tzinfo=UTC) for m in (job.started, _until(job))]
        elapsed = (aware[1] - aware[0]).total_seconds()
    if elapsed and ended:
        rate = ended / elapsed
        if job.state is JobState.RUNNING and ended < job.budget:
            left = (job.budget - ended) / rate
    return _Progress(
        ended,
        job.budget,
        elapsed,
        rate,
        left,
        digest.seconds(),
        digest.steps(),
        digest.failures(),
        dict(Counter(point.state for point in search)),
        sum(point.state is TrialState.INFEASIBLE and point.length == 0 for point in search),
        sum(point.taken_over for point in search),
    )


def _name_of(store: Store, job_id: str) -> str | None:
    """Return a job's name, None where it was deleted."""
    try:
        return store.job(job_id).spec.name
    except NotFound:
        return None


def _until(job: Job) -> datetime:
    return job.finished or datetime.now(UTC)


def _boards(store: Store, job: Job) -> dict[tuple[Stage, str], Board]:
    """Return a board for every task of every stage after the search, in that order."""
    objective = job.spec.objective
    found: dict[tuple[Stage, str], list[Row]] = {}
    for stage in (Stage.COMPARISON, Stage.UNSEEN, Stage.LONG):
        query = queries.Query(page_size=500, filter=f"stage = {stage.value}", order_by="number")
        for trial in store.trials(job.id, query).items:
            row = from_trial(trial, objective.metric)
            if row is not None:
                found.setdefault((stage, trial.task), []).append(row)
    return {at: board(ranked(rows, objective.direction)) for at, rows in found.items()}


@dataclass(frozen=True, slots=True)
class _Listing:
    """One page of a job's trials and how it was asked for."""

    page: Any
    filter: str
    order_by: str
    page_token: str | None
    error: str | None
    aims: dict[str, str | None]
    """See `aims_of`."""


def _listing(store: Store, job: Job, text: str, order_by: str, page_token: str | None) -> _Listing:
    query = queries.Query(
        page_size=TRIALS_PER_PAGE, page_token=page_token, filter=text, order_by=order_by
    )
    aims = aims_of(job)
    try:
        return _Listing(store.trials(job.id, query), text, order_by, page_token, None, aims)
    except QueryError as error:
        return _Listing(None, text, order_by, None, str(error), aims)


def _add_job(routes: APIRouter, store: Store, digests: Digests) -> None:
    @routes.get("/jobs/{job_id}")
    def job(
        job_id: JobId,
        part: str = "",
        filter: Text = "",  # noqa: A002  (the API's own word)
        order_by: Text = SEARCH_FIRST,
        page_token: Token = None,
    ) -> HTMLResponse:
        found = store.job(job_id)
        context: dict[str, Any] = {"job": found, "spec": found.spec}
        if part in ("", "summary"):
            context["progress"] = _progress(found, digests.of(found))
        if part in ("", "front"):
            context["front"] = front_of(store, digests, found)
        if part in ("", "comparison"):
            boards = context["boards"] = _boards(store, found)
            unseen = {
                task: each.rows for (stage, task), each in boards.items() if stage is Stage.UNSEEN
            }
            context["unseen"] = crossing(unseen, found.spec.objective.direction)
            context["passed_over"] = store.passed_over(job_id) if boards else 0
        if part in ("", "trials"):
            context["listing"] = _listing(store, found, filter, order_by, page_token)
        name = part if part in ("summary", "front", "comparison", "trials") else ""
        return _page(f"parts/{name}.html" if name else "job.html", **context)

    @routes.get("/jobs/{job_id}/trials/{number}")
    def trial(job_id: JobId, number: TrialNumber) -> HTMLResponse:
        found = store.trial(job_id, number)
        curves = store.curves(job_id, numbers=[number])
        owner = store.job(job_id)
        return _page(
            "trial.html",
            job=owner,
            spec=owner.spec,
            trial=found,
            curve=trial_curve(curves[0]) if curves and curves[0].points else None,
            source=None if found.origin is None else _name_of(store, found.origin.job_id),
        )


def _add_figures(routes: APIRouter, store: Store, digests: Digests) -> None:
    @routes.get("/jobs/{job_id}/columns.json")
    def columns(job_id: JobId) -> JSONResponse:
        found = store.job(job_id)
        return JSONResponse(job_columns(found, digests.of(found)))

    @routes.get("/jobs/{job_id}/curves.json")
    def curves(job_id: JobId) -> JSONResponse:
        return JSONResponse(curve_columns(store, store.job(job_id)))


def _add_actions(routes: APIRouter, store: Store) -> None:
    @routes.post("/jobs/{job_id}/clone")
    def clone(job_id: JobId) -> RedirectResponse:
        return RedirectResponse(f"/jobs/{store.clone_job(job_id).id}", 303)

    @routes.post("/jobs/{job_id}/delete")
    def delete(job_id: JobId) -> RedirectResponse:
        store.delete_job(job_id)
        return RedirectResponse("/", 303)

    for name in ACTIONS:
        routes.post(f"/jobs/{{job_id}}/{name}")(_action(store, name))


def _action(store: Store, name: str) -> Callable[[str], RedirectResponse]:
    def act(job_id: JobId) -> RedirectResponse:
        store.request(job_id, name)  # type: ignore[arg-type]  # a key of ACTIONS
        return RedirectResponse(f"/jobs/{job_id}", 303)

    return act


def _add_rules(routes: APIRouter, store: Store) -> None:
    @routes.get("/rules")
    def rules(task: Text = "", page_token: Token = None) -> HTMLResponse:
        name = task if task in TASKS else next(iter(TASKS))
        query = queries.Query(page_size=50, page_token=page_token)
        page = store.standings(query, task=name)
        rows = [from_standing(standing) for standing in page.items]
        return _page(
            "rules.html",
            board=board(rows),
            page=page,
            page_token=page_token,
            task=name,
            tasks=list(TASKS),
        )

    @routes.get("/rules/{rule_id}")
    def rule(rule_id: str) -> HTMLResponse:
        entry = store.rule(checked_identifier("rule", rule_id))
        source = _source(store, entry)
        heart = None if source is None else typography.function(source, "advance")
        return _page("rule.html", entry=entry, source=source, heart=heart)


def _source(store: Store, entry: RuleEntry) -> str | None:
    try:
        return python_file(store, entry)
    except RuleError:
        # A rule kept by an older version of the language is still shown, without its file.
        return None


def _add_static(routes: APIRouter) -> None:
    files = StaticFiles(directory=HERE / "static")

    @routes.get("/static/{path:path}")
    async def static(path: str, request: Request) -> Response:
        response = await files.get_response(path, request.scope)
        # Modules import each other by plain names: the browser asks again, and gets a 304.
        response.headers["Cache-Control"] = "no-cache"
        return response
