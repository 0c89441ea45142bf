"""A job's events as server-sent events, gap-free and resumable (HTML standard, 9.2)."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from service.resources import TERMINAL, Event
from service.store.store import Store
from service.web.access import JobId, StoreDep
from service.web.feed import Feed
from service.web.problems import PROBLEMS, FieldError, Problem

PING_SECONDS = 15.0
LOOK_SECONDS = 0.5
"""How often a silent stream looks whether the server is stopping."""

Sequence = Annotated[int, Query(ge=0, lt=2**63)]

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=PROBLEMS)


def frame(event: Event) -> bytes:
    """Return an event on the wire: `event:` its kind, `id:` its seq, `data:` all of it as JSON."""
    data: dict[str, Any] = event.model_dump(mode="json")
    return format_sse_event(
        data_str=json.dumps(data, separators=(",", ":")), event=event.kind, id=str(event.seq)
    )


async def _stream(request: Request, feed: Feed, job_id: str, after: int) -> AsyncIterator[bytes]:
    stopping = request.app.state.stopping
    yield format_sse_event(retry=1000)
    spoke = time.monotonic()
    async with feed.tail(job_id, after) as tail:
        while not stopping.is_set():
            events = await tail.after(after, LOOK_SECONDS)
            for event in events:
                yield frame(event)
                after = event.seq
            if events:
                spoke = time.monotonic()
            elif tail.ended:
                return
            elif time.monotonic() - spoke >= PING_SECONDS:
                spoke = time.monotonic()
                yield format_sse_event(comment="ping")


def _told_all(store: Store, job_id: str, after: int) -> bool:
    """Whether a job has ended and nothing follows `after`; NotFound if there is no such job."""
    over = store.job(job_id).state in TERMINAL
    if after > 0 and [event.seq for event in store.events(job_id, after - 1, 1)] != [after]:
        detail = f"job {job_id} has no event {after}; start from 0 or from an id it has sent"
        raise Problem(422, detail, [FieldError(parameter="Last-Event-ID", detail=detail)])
    return over and not store.events(job_id, after, 1)


@router.get(
    "/{job_id}/events",
    summary="Watch a job (SSE)",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}},
        204: {"description": "The job has ended and all its events are told: do not reconnect."},
    },
)
async def events(
    request: Request,
    job_id: JobId,
    store: StoreDep,
    last_event_id: Annotated[int | None, Header(ge=0, lt=2**63)] = None,
    after: Sequence | None = None,
) -> Response:
    """Stream a job's events from the first on, or from behind `Last-Event-ID` (or `after`).

    `id` counts 1, 2, 3 … without gaps. The stream ends when the job has ended; who then
    reconnects gets 204, which makes an EventSource stop.
    """
    start = last_event_id if last_event_id is not None else after or 0
    if await to_thread.run_sync(_told_all, store, job_id, start):
        return Response(status_code=204)
    return StreamingResponse(
        _stream(request, request.app.state.feed, job_id, start),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
