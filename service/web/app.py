"""The web application: REST under /api/v1, probes, dashboard."""

import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import Settings
from service.store.store import Store
from service.web import catalogue, events, fronts, health, jobs, pages, problems, rules
from service.web.bodies import Bounded
from service.web.digest import Digests
from service.web.feed import Feed
from service.web.security import Guard
from service.web.texts import refuse_half_pairs


def _version() -> str:
    try:
        return version("rulesmith")
    except PackageNotFoundError:  # run from a checkout
        return "0"


class Application(FastAPI):
    """FastAPI whose OpenAPI document tells of problem+json."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = problems.documented(super().openapi())
        return self.openapi_schema


class _Measured:
    """ASGI middleware that counts and times answers by route."""

    def __init__(self, app: ASGIApp, metrics: health.Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _template(scope)
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.requests.labels(method, route, message["status"]).inc()
                self._metrics.seconds.labels(method, route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, measured)


def _template(scope: Scope) -> str:
    """Return the route's template, never the path: paths are the client's to invent."""
    context = scope.get("fastapi", {}).get("effective_route_context")  # knows the prefixes too
    return str(getattr(context or scope.get("route"), "path", "none"))


_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"})


def create_app(
    store: Store, settings: Settings, outage: Callable[[], str | None] = lambda: None
) -> Application:
    """Return the application.

    Args:
        store: An open, migrated store; the caller closes it.
        settings: Which hosts are answered, and whether tokens are always needed.
        outage: Says why no job can run now, None while they can; it must answer at once.

    `app.state.stopping` is a `threading.Event`: set it before the server stops, so that open
    event streams end.
    """
    app = Application(
        title="Rulesmith",
        summary="Hyperparameter search as a service that also discovers optimizers.",
        version=_version(),
        docs_url=None,  # both viewers load scripts from a CDN
        redoc_url=None,
    )
    app.state.store = store
    app.state.settings = settings
    app.state.outage = outage
    app.state.feed = Feed(store)
    app.state.digests = Digests(store)
    app.state.metrics = health.Metrics()
    app.state.stopping = threading.Event()
    problems.install(app)
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(refuse_half_pairs)])
    for part in (events, jobs, fronts, rules, catalogue):
        api.include_router(part.router)
    api.include_router(health.router, include_in_schema=False)
    app.include_router(api)
    app.include_router(health.router)
    app.include_router(pages.router(store, app.state.digests))
    app.add_middleware(_Measured, metrics=app.state.metrics)
    app.add_middleware(Bounded)
    app.add_middleware(Guard, store=store, settings=settings)  # the last added comes first
    return app
