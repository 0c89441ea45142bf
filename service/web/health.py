"""Is it alive, is it ready, how does it do: for probes and Prometheus."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from dsl.schema import Frozen
from service.resources import JobState
from service.web.access import StoreDep
from service.web.problems import Problem

router = APIRouter(tags=["health"])


class Health(Frozen):
    """The answer of the probes."""

    status: Literal["ok"] = "ok"


class Metrics:
    """The counters of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rulesmith_http_requests",
            "Answers by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "rulesmith_http_request_seconds",
            "Seconds until the answer began.",
            ["method", "route"],
            registry=self.registry,
        )
        self.jobs = Gauge("rulesmith_jobs", "Jobs by state.", ["state"], registry=self.registry)


@router.get("/healthz", summary="Alive")
async def healthz() -> Health:
    """Answer while the process serves."""
    return Health()


@router.get("/readyz", summary="Ready")
def readyz(request: Request, store: StoreDep) -> Health:
    """Answer 503 while the server stops, the store does not answer, or Ray has died."""
    if request.app.state.stopping.is_set():
        raise Problem(503, "the server is stopping")
    try:
        store.ping()
    except Exception as error:
        raise Problem(503, "the database does not answer; see the server's log") from error
    outage = request.app.state.outage()
    if outage is not None:
        raise Problem(503, outage)
    return Health()


@router.get("/metrics", summary="For Prometheus", response_class=Response)
def metrics(request: Request, store: StoreDep) -> Response:
    """Return counters in the text format of Prometheus."""
    own: Metrics = request.app.state.metrics
    counts = store.job_states()
    for state in JobState:
        own.jobs.labels(state.value).set(counts.get(state, 0))
    return Response(generate_latest(own.registry), media_type=CONTENT_TYPE_LATEST)
