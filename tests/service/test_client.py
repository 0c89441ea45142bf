"""The Python client against a real service."""

import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from service.client import ApiError, Client, Unreachable
from service.resources import JobState
from service.server import web_server
from service.settings import Settings
from service.store.store import Store
from tests.service.web.conftest import DISCOVER, TUNE, Live, outcome, proposal


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    service = Live(tmp_path)
    yield service
    service.stop()


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with Client(live.url) as own:
        yield own


def test_the_client_loads_neither_torch_nor_the_service(tmp_path: Path) -> None:
    code = (
        "import sys; import rulesmith; rulesmith.Client('http://127.0.0.1:1').close(); "
        "heavy = {'torch', 'ray', 'optuna', 'sqlalchemy', 'fastapi', 'sklearn', 'numpy', "
        "'service.jobs', 'service.resources', 'dsl.schema'}; "
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_job_is_submitted_found_and_steered(client: Client) -> None:
    job = client.submit(TUNE)
    assert client.job(job["id"]) == job
    assert client.pause(job["id"])["state"] == "PAUSED"
    assert client.update(job["id"], notes="hello")["notes"] == "hello"
    assert client.resume(job["id"])["state"] == "QUEUED"
    assert client.cancel(job["id"])["state"] == "CANCELLED"
    assert client.clone(job["id"], "again")["spec"]["name"] == "again"
    client.delete(job["id"])
    assert [found["spec"]["name"] for found in client.jobs()] == ["again"]


def test_validate_only_submits_nothing(client: Client) -> None:
    assert client.submit(DISCOVER, validate_only=True)["valid"] is True
    assert list(client.jobs()) == []


def test_lists_go_over_all_pages(client: Client, live: Live) -> None:
    job = client.submit({**TUNE, "budget": {"trials": 450}})
    claim = live.claim()
    live.store.record_asked(claim, [proposal(n, lr=0.1, weight_decay=0.1) for n in range(450)])
    live.store.record_told(claim, [outcome(n, 1 + n / 1000) for n in range(450)], None)
    assert [trial["number"] for trial in client.trials(job["id"])] == list(range(450))
    few = client.trials(job["id"], filter="value < 1.0105", order_by="value desc")
    assert [trial["number"] for trial in few] == list(range(10, -1, -1))
    assert client.best(job["id"], 2)[1] == client.trial(job["id"], 1)
    assert [curve["number"] for curve in client.curves(job["id"], [3, 5])] == [3, 5]
    assert client.importance(job["id"])["trials"] == 450


def test_rules_are_added_found_and_exported(client: Client, live: Live) -> None:
    rule = client.add_rule("g + 0.25 * sign(g)", "mine")
    assert client.rule(rule["id"])["text"] == rule["text"]
    assert "def " in client.export(rule["id"])
    assert "\\" in client.export("adam", "latex")
    assert list(client.rules()) == []
    client.submit(TUNE)
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0, "sign(g)", lr=0.1)])
    live.store.record_told(claim, [outcome(0, 0.5)], None)
    assert [row["value"] for row in client.rules(task="digits-mlp")] == [0.5]
    assert "adam" in [entry["name"] for entry in client.optimizers()]
    assert "digits-mlp" in [task["name"] for task in client.tasks()]


def test_a_refusal_names_the_fields(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.submit({**TUNE, "optimizer": "adamx", "seed": -1})
    assert caught.value.status == 422
    assert {fault["pointer"] for fault in caught.value.errors} == {"#/optimizer", "#/seed"}
    assert "#/optimizer: there is no optimizer 'adamx' (did you mean 'adam" in str(caught.value)
    with pytest.raises(ApiError, match="404 Not Found: there is no job 'none'"):
        client.job("none")


@pytest.mark.parametrize("hostile", ["../rules", "a/b", "a?b", "a#b", "%00", "", "x y"])
def test_an_identifier_never_leads_elsewhere(client: Client, hostile: str) -> None:
    with pytest.raises(ApiError):
        client.trial(hostile, 0)


def test_a_token_is_sent(live: Live) -> None:
    secret = live.store.create_token("me")
    with Client(live.url) as without, pytest.raises(ApiError, match="401"):
        list(without.jobs())
    with Client(live.url, secret) as client:
        assert list(client.jobs()) == []


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(url)


def test_what_json_cannot_say_is_not_sent(client: Client) -> None:
    job = client.submit(TUNE)["id"]
    for send in (lambda: client.enqueue(job, [{"lr": math.nan}]),
                 lambda: client.submit({**TUNE, "seed": math.inf})):  # fmt: skip
        with pytest.raises(ValueError, match="the body cannot be said in JSON"):
            send()
    assert client.job(job)["spec"]["enqueue"] == []


def test_nobody_there_is_said_so() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(Unreachable, match="rulesmith serve"),
    ):
        client.job("x")


def test_wait_returns_the_ended_job_or_gives_up(client: Client) -> None:
    job = client.submit(TUNE)
    with pytest.raises(TimeoutError, match="QUEUED"):
        client.wait(job["id"], timeout=0)
    client.cancel(job["id"])
    assert client.wait(job["id"], timeout=5)["state"] == "CANCELLED"


def test_watch_yields_every_event_and_ends_with_the_job(client: Client, live: Live) -> None:
    job = client.submit(TUNE)
    claim = live.claim()
    live.store.log(claim, "line\nbreak ✓")
    live.store.finish(claim, JobState.SUCCEEDED)
    events = list(client.watch(job["id"]))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-2]["body"] == {"sentence": "line\nbreak ✓"}
    assert events[-1]["body"]["state"] == "SUCCEEDED"
    assert [event["seq"] for event in client.watch(job["id"], after=2)] == list(
        range(3, len(events) + 1)
    )
    with pytest.raises(ApiError, match="404"):
        next(client.watch("none"))


def test_watch_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    """Events written while the server is away come too, none twice."""
    first = Live(tmp_path)
    port = int(first.url.rsplit(":", 1)[1])
    client = Client(first.url)
    job = client.submit(TUNE)
    claim = first.claim()
    heard: list[int] = []
    watcher = threading.Thread(
        target=lambda: heard.extend(event["seq"] for event in client.watch(job["id"]))
    )
    watcher.start()
    time.sleep(0.5)
    first.stop()
    store = Store(f"sqlite:///{first.file}")
    for number in range(5):
        store.log(claim, f"sentence {number}")
    bound = threading.Event()
    server = web_server(store, Settings(port=port), lambda address: bound.set())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert bound.wait(20)
        store.finish(claim, JobState.SUCCEEDED)
        watcher.join(30)
        assert heard == list(range(1, store.events(job["id"])[-1].seq + 1))
    finally:
        server.stop()
        thread.join(20)
        client.close()
        store.close()


class _Flaky(BaseHTTPRequestHandler):
    """Breaks the connection after it has done what it was asked, as a lost answer looks."""

    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Idempotency-Key"])
        if len(self.keys) < 3:
            self.connection.close()
            return
        body = b'{"id": "abc"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    _Flaky.keys.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Flaky)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_address[1]}") as client:
            assert client.submit(TUNE) == {"id": "abc"}
        assert len(_Flaky.keys) == 3
        assert len(set(_Flaky.keys)) == 1
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
