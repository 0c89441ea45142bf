"""A Python client of the service: `Client(url).submit({...})`.

It needs httpx alone, none of the service's own modules, so it imports fast and without torch.
Resources come as plain dicts, as the REST interface documents them (/openapi.json).
"""

# ruff: noqa: A002 - parameters are named as the REST interface names them

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx

from service.addresses import DEFAULT_URL, default_url, is_loopback

Resource = dict[str, Any]
"""A resource as the REST interface documents it."""

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
ATTEMPTS = 4
"""How often a request that may be repeated is sent before the client gives up."""


class ClientError(Exception):
    """The base of the client's errors."""


class Unreachable(ClientError):  # noqa: N818 - what happened
    """The service did not answer."""


class ApiError(ClientError):
    """The service refused a request (RFC 9457 problem).

    Attributes:
        status: HTTP status.
        title: Its name.
        detail: What is wrong.
        errors: One dict per fault: `pointer` or `parameter`, and `detail`.
    """

    def __init__(self, status: int, title: str, detail: str, errors: list[Resource]) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        super().__init__(status, title, detail, errors)

    def __str__(self) -> str:
        if len(self.errors) > 1:
            faults = (
                f"  {fault.get('pointer') or fault.get('parameter')}: {fault.get('detail')}"
                for fault in self.errors
            )
            return "\n".join([f"{self.status} {self.title}:", *faults])
        return f"{self.status} {self.title}: {self.detail}"


def _error(response: httpx.Response) -> ApiError:
    try:
        body = json.loads(response.content)
        errors = [fault for fault in body.get("errors", []) if isinstance(fault, dict)]
        return ApiError(response.status_code, str(body["title"]), str(body["detail"]), errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        text = response.text[:200] or "no explanation; is this a Rulesmith service?"
        return ApiError(response.status_code, response.reason_phrase, text, [])


class Client:
    """Talks to one service. Close it, or use it as a context manager."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = 30.0
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: The service's address, without `/api/v1`; None for `default_url()`.
            token: A bearer token, where the service asks for one.
            timeout: Seconds a request may take.

        Raises:
            ValueError: If `url` is no http or https address.
        """
        url = default_url() if url is None else url
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is no address; give one like {DEFAULT_URL}")
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers=headers,
            timeout=timeout,
            # A proxy from the environment cannot reach this machine's loopback.
            trust_env=not is_loopback(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Jobs

    def submit(
        self,
        job: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        validate_only: bool = False,
    ) -> Resource:
        """Submit a job and return it; with `validate_only`, only check it.

        The request is repeated if the connection breaks; the key, made up unless given, keeps
        that from submitting twice.

        Raises:
            ApiError: The body is refused; `.errors` points at the fields.
            Unreachable: The service does not answer.
        """
        params = {"validate_only": "true"} if validate_only else {}
        key = idempotency_key or uuid4().hex
        return self._json(
            "POST", "/jobs", json=dict(job), params=params, headers={"Idempotency-Key": key}
        )

    def job(self, job_id: str) -> Resource:
        """Return a job."""
        return self._json("GET", f"/jobs/{_id(job_id)}")

    def jobs(self, filter: str = "", order_by: str = "") -> Iterator[Resource]:
        """Yield all jobs, newest first unless ordered; pages are fetched as needed."""
        return self._pages("/jobs", filter=filter, order_by=order_by)

    def update(self, job_id: str, **changes: Any) -> Resource:
        """Change `name`, `notes` or `budget`."""
        return self._json("PATCH", f"/jobs/{_id(job_id)}", json=changes)

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended."""
        self._send("DELETE", f"/jobs/{_id(job_id)}")

    def pause(self, job_id: str) -> Resource:
        """Pause a job; what is running is tried again after `resume`."""
        return self._json("POST", f"/jobs/{_id(job_id)}:pause")

    def resume(self, job_id: str) -> Resource:
        """Go on with a paused job."""
        return self._json("POST", f"/jobs/{_id(job_id)}:resume")

    def cancel(self, job_id: str) -> Resource:
        """End a job; what it found stays."""
        return self._json("POST", f"/jobs/{_id(job_id)}:cancel")

    def clone(self, job_id: str, name: str | None = None) -> Resource:
        """Submit the same job again."""
        body = {} if name is None else {"name": name}
        return self._json("POST", f"/jobs/{_id(job_id)}:clone", json=body)

    # What a job found

    def trials(self, job_id: str, filter: str = "", order_by: str = "") -> Iterator[Resource]:
        """Yield a job's trials, by number unless ordered; pages are fetched as needed."""
        return self._pages(f"/jobs/{_id(job_id)}/trials", filter=filter, order_by=order_by)

    def trial(self, job_id: str, number: int) -> Resource:
        """Return one trial."""
        return self._json("GET", f"/jobs/{_id(job_id)}/trials/{int(number)}")

    def replay(self, job_id: str, number: int) -> Resource:
        """Return all that runs a trial again: how it was judged, what was tried, what came of it.

        Raises:
            ApiError: It has not ended, or what was trained beside it decides its figures too.
        """
        return self._json("GET", f"/jobs/{_id(job_id)}/trials/{int(number)}/replay")

    def enqueue(self, job_id: str, points: Sequence[Mapping[str, Any]]) -> Resource:
        """Have a tune job try these points next, also while it runs, and return the job.

        What a point leaves out the sampler chooses. Where the budget has no trial left for a point,
        it is one more.

        Raises:
            ApiError: A point is none of the job's space, there are too many, the job has ended.
        """
        body = {"enqueue": [dict(point) for point in points]}
        return self._json("POST", f"/jobs/{_id(job_id)}/trials", json=body)

    def front(self, job_id: str) -> Resource:
        """Return the front of a job with several objectives: `objectives` and `items`.

        Raises:
            ApiError: The job has one objective.
        """
        return self._json("GET", f"/jobs/{_id(job_id)}/front")

    def front_csv(self, job_id: str) -> str:
        """Return the same as a table, in CSV."""
        return self._send("GET", f"/jobs/{_id(job_id)}/front", params={"format": "csv"}).text

    def best(self, job_id: str, count: int = 1) -> list[Resource]:
        """Return the best COMPLETE trials, best first."""
        return self._items(f"/jobs/{_id(job_id)}/best", count=count)

    def curves(
        self, job_id: str, numbers: list[int] | None = None, limit: int = 50
    ) -> list[Resource]:
        """Return learning curves, of some trials or the best."""
        params: Resource = {"limit": limit}
        if numbers is not None:
            params["numbers"] = ",".join(map(str, numbers))
        return self._items(f"/jobs/{_id(job_id)}/curves", **params)

    def importance(self, job_id: str) -> Resource:
        """Return each parameter's share in reaching the best trials of a tune job."""
        return self._json("GET", f"/jobs/{_id(job_id)}/importance")

    def watch(self, job_id: str, after: int = 0) -> Iterator[Resource]:
        """Yield a job's events, old and new, until it has ended.

        A broken connection is taken up again where it broke: none is lost, none comes twice.

        Args:
            job_id: The job.
            after: Leave out events up to this `seq`.

        Raises:
            ApiError: There is no such job.
            Unreachable: The service stays away for more than about half a minute.
        """
        failures = 0
        while True:
            try:
                with self._http.stream(
                    "GET",
                    f"/jobs/{_id(job_id)}/events",
                    headers={"Last-Event-ID": str(after), "Accept": "text/event-stream"},
                    timeout=httpx.Timeout(30.0, read=45.0),
                ) as response:
                    if response.status_code == 204:
                        return
                    if response.status_code != 200:
                        response.read()
                        raise _error(response)
                    for event in _events(response.iter_lines()):
                        failures = 0
                        after = event["seq"]
                        yield event
            except httpx.TransportError as error:
                failures += 1
                if failures > 8:
                    raise self._unreachable(error) from error
            except ApiError as error:
                failures += 1
                if error.status not in (502, 503, 504) or failures > 8:
                    raise
            time.sleep(min(8.0, 0.1 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311

    def wait(self, job_id: str, timeout: float | None = None) -> Resource:
        """Return the job once it has ended.

        Raises:
            TimeoutError: If it has not after `timeout` seconds.
        """
        began = time.monotonic()
        while True:
            job = self.job(job_id)
            if job["state"] in TERMINAL:
                return job
            if timeout is not None and time.monotonic() - began >= timeout:
                raise TimeoutError(f"job {job_id} is {job['state']} after {timeout:g} s")
            time.sleep(0.5)

    # Rules and what a job can name

    def rules(
        self, filter: str = "", order_by: str = "", task: str | None = None
    ) -> Iterator[Resource]:
        """Yield the leaderboard over all jobs; pages are fetched as needed."""
        extra = {} if task is None else {"task": task}
        return self._pages("/rules", filter=filter, order_by=order_by, **extra)

    def rule(self, rule: str) -> Resource:
        """Return a rule, by id or catalogue name."""
        return self._json("GET", f"/rules/{_id(rule)}")

    def add_rule(self, text: str, label: str | None = None) -> Resource:
        """Add a rule by hand."""
        body = {"text": text} if label is None else {"text": text, "label": label}
        return self._json("POST", "/rules", json=body)

    def export(self, rule: str, format: Literal["torch", "optax", "latex"] | str = "torch") -> str:
        """Return a rule, by id or catalogue name, as a file's text."""
        return self._send("GET", f"/rules/{_id(rule)}/export", params={"format": format}).text

    def optimizers(self) -> list[Resource]:
        """Return every optimizer that a tune job can name."""
        return self._items("/optimizers")

    def tasks(self) -> list[Resource]:
        """Return every task that a job can name."""
        return self._items("/tasks")

    # Underneath

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"{self.url} does not answer ({error or type(error).__name__}); is the service "
            "running? Start one with 'rulesmith serve', or give its address with --url or "
            "RULESMITH_URL"
        )

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        repeatable = method in ("GET", "DELETE", "PATCH") or "Idempotency-Key" in request.get(
            "headers", {}
        )
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._http.request(method, path, **request)
            except ValueError as error:
                # Of the body, before anything is sent: JSON has neither NaN nor infinity.
                raise ValueError(f"the body cannot be said in JSON: {error}") from error
            except httpx.ConnectError as error:
                # Nothing answers at the address: a person should hear that now.
                raise self._unreachable(error) from error
            except httpx.TransportError as error:
                if not repeatable or attempt == ATTEMPTS:
                    raise self._unreachable(error) from error
            else:
                if response.status_code < 400:
                    return response
                if response.status_code != 503 or not repeatable or attempt == ATTEMPTS:
                    raise _error(response)
            time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _json(self, method: str, path: str, **request: Any) -> Resource:
        response = self._send(method, path, **request)
        try:
            body = response.json()
        except ValueError:
            raise _error(response) from None
        if not isinstance(body, dict):
            raise _error(response)
        return body

    def _items(self, path: str, **params: Any) -> list[Resource]:
        return list(self._json("GET", path, params=params)["items"])

    def _pages(self, path: str, **params: Any) -> Iterator[Resource]:
        params = {name: value for name, value in params.items() if value} | {"page_size": 200}
        while True:
            page = self._json("GET", path, params=params)
            yield from page["items"]
            if page.get("next_page_token") is None:
                return
            params["page_token"] = page["next_page_token"]


def _id(value: str) -> str:
    return quote(str(value), safe="")


def _events(lines: Iterator[str]) -> Iterator[Resource]:
    """Yield the JSON data of each server-sent event; comments and `retry` have none."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif line == "" and data:
            event = json.loads("\n".join(data))
            data = []
            if isinstance(event, dict):
                yield event
