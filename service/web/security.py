"""Who may ask: Host allow-list, same-origin guard, bearer tokens, and what browsers may do.

A service on localhost is reachable by every page its owner opens: DNS rebinding (answered by
the Host allow-list) and cross-site requests (answered by Sec-Fetch-Site and Origin) are how
such services were taken over.
"""

import base64
import binascii
import ipaddress

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import Settings
from service.store.errors import SchemaError, StorageFull, Unavailable
from service.store.store import Store
from service.web.problems import problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES = frozenset({"/healthz", "/readyz", "/api/v1/healthz", "/api/v1/readyz"})

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """Return a Host header without its port, in lower case; brackets of IPv6 stay."""
    header = header.strip().lower()
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


def presented_token(authorization: str) -> str | None:
    """Return the token of an Authorization header, None if it holds none.

    `Bearer TOKEN` is for programs. `Basic` with any user and the token as password is for
    browsers, which ask for it by themselves.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip() or None
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
        return decoded.partition(":")[2] or None
    return None


class Guard:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, store: Store, settings: Settings) -> None:
        self._app = app
        self._store = store
        self._always = not is_loopback(settings.host)
        names = (name.strip().lower() for name in settings.allowed_hosts.split(","))
        self._hosts = frozenset(name for name in names if name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may not pass, pass the others on with strict headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        if refusal is None and scope["path"] not in PROBES:
            refusal = await to_thread.run_sync(self._unauthorised, headers)
        if refusal is None:
            await self._app(scope, receive, guarded)
            return
        status, detail, extra = refusal
        await problem_response(status, detail, scope["path"], headers=extra)(
            scope, receive, guarded
        )

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        host = headers.get("host", "")
        if "*" not in self._hosts and host_name(host) not in self._hosts:
            return (
                400,
                f"host '{host[:100]}' is not served here; allowed: "
                f"{', '.join(sorted(self._hosts))} (RULESMITH_ALLOWED_HOSTS)",
                {},
            )
        if method in SAFE_METHODS:
            return None
        site = headers.get("sec-fetch-site")
        if site is not None:
            same = site in ("same-origin", "none")
        else:
            origin = headers.get("origin")
            same = origin is None or origin.lower().partition("://")[2] == host.strip().lower()
        if same:
            return None
        return 403, f"a page of another site asked for this {method}; only this site's may", {}

    def _unauthorised(self, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        token = presented_token(headers.get("authorization", ""))
        try:
            if not self._always and not self._store.tokens_exist():
                return None
            if token is not None and self._store.check_token(token):
                return None
        except (SchemaError, StorageFull, Unavailable) as error:
            return 503, str(error), {}
        wrong = "the token is not known or was revoked" if token else "a token is needed"
        # Only a browser that wants a page is asked to prompt; programs get a plain 401.
        page = "text/html" in headers.get("accept", "")
        challenge = 'Basic realm="rulesmith", charset="UTF-8"' if page else "Bearer"
        return (
            401,
            f"{wrong}: send 'Authorization: Bearer TOKEN' (a browser asks: any user, the token "
            "as password); make one with 'rulesmith token create NAME'",
            {"WWW-Authenticate": challenge},
        )


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
