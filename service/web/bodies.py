"""Bodies of requests: bounded in size and time, read before anything else runs."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web.problems import problem_response

MAX_BODY = 2**20
"""A body of this many bytes (1 MiB) or more is refused."""

MAX_DISCARDED = 16 * MAX_BODY
"""A client that sends too much reads its answer only once it has sent all, so the rest is read
and thrown away, up to this many bytes; who sends more finds the connection closed."""

SECONDS = 30.0
"""How long a body may take to arrive."""


class Bounded:
    """ASGI middleware: hands the whole body on, or answers 413 or 408 itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests without a body on; read the bodies of the others."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(SECONDS):
                body = await _read(receive)
        except TimeoutError:
            detail = f"the body did not arrive within {SECONDS:g} s; send it again"
            await problem_response(408, detail, scope["path"])(scope, receive, send)
            return
        if body is None:
            detail = "the body is 1 MiB or larger; send less, a job needs a few kilobytes"
            await problem_response(413, detail, scope["path"])(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """Return the body, None if it is too large; raise nothing if the client goes away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client went away
            break
        part = message.get("body", b"")
        size += len(part)
        if size < MAX_BODY:
            parts.append(part)
        if not message.get("more_body", False) or size > MAX_DISCARDED:
            break
    return b"".join(parts) if size < MAX_BODY else None


def _replayed(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed
