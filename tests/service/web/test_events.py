"""Event streams: gap-free, resumable, ended with the job, no burden for the server."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.resources import JobState
from service.web import events as events_module
from tests.service.web.conftest import TUNE, Live, outcome, proposal


@contextmanager
def stream(live: Live, job: str, after: int | None = None) -> Iterator[httpx.Response]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with (
        httpx.Client(trust_env=False, timeout=20) as http,
        http.stream("GET", f"{live.url}/api/v1/jobs/{job}/events", headers=headers) as response,
    ):
        yield response


def frames(response: httpx.Response) -> Iterator[dict[str, str]]:
    """Yield events as an EventSource reads them."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield fields
            fields = {}
        else:
            fields = {}


def finished_job(live: Live, trials: int) -> str:
    job = live.submit(TUNE)
    claim = live.claim()
    for number in range(trials):
        live.store.record_asked(claim, [proposal(number, lr=0.1, weight_decay=0.1)])
        live.store.record_told(claim, [outcome(number, 0.5)], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    return job


def test_a_stream_tells_everything_once_in_order_and_ends_with_the_job(live: Live) -> None:
    job = finished_job(live, 3)
    expected = live.store.events(job)
    with stream(live, job) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        found = list(frames(response))
    assert [int(frame["id"]) for frame in found] == list(range(1, len(expected) + 1))
    assert [frame["event"] for frame in found] == [event.kind for event in expected]
    last: dict[str, Any] = json.loads(found[-1]["data"])
    assert last["seq"] == len(expected)
    assert last["kind"] == "job"
    assert last["body"]["state"] == "SUCCEEDED"
    assert last == expected[-1].model_dump(mode="json")


def test_a_stream_resumes_behind_the_last_event(live: Live) -> None:
    job = finished_job(live, 3)
    total = len(live.store.events(job))
    for after in range(total):
        with stream(live, job, after) as response:
            assert [int(frame["id"]) for frame in frames(response)] == list(
                range(after + 1, total + 1)
            )


def test_who_has_heard_all_of_an_ended_job_is_told_to_stay_away(live: Live) -> None:
    job = finished_job(live, 1)
    total = len(live.store.events(job))
    with stream(live, job, total) as response:
        assert response.status_code == 204


def test_more_events_than_one_read_are_all_told(live: Live) -> None:
    job = live.submit(TUNE)
    claim = live.claim()
    for number in range(1200):
        live.store.log(claim, f"sentence {number}")
    live.store.finish(claim, JobState.CANCELLED)
    total = live.store.events(job, 1000, 1000)[-1].seq
    with stream(live, job) as response:
        assert [int(frame["id"]) for frame in frames(response)] == list(range(1, total + 1))


def test_many_watchers_who_come_at_any_time_hear_the_same(live: Live) -> None:
    """Watchers outnumber the server's threads, come before, amid and after, and miss nothing."""
    job = live.submit(TUNE)
    claim = live.claim()
    heard: dict[int, list[int]] = {}

    def listen(watcher: int) -> None:
        time.sleep(0.01 * watcher)
        with stream(live, job) as response:
            heard[watcher] = [int(frame["id"]) for frame in frames(response)]

    threads = [threading.Thread(target=listen, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for number in range(40):
        live.store.log(claim, f"sentence {number}")
        time.sleep(0.02)
    assert live.http.get("/jobs").status_code == 200
    live.store.finish(claim, JobState.SUCCEEDED)
    for thread in threads:
        thread.join(20)
    total = live.store.events(job, 0, 1000)[-1].seq
    assert [heard.get(n) for n in range(60)] == [list(range(1, total + 1))] * 60


def test_a_watcher_with_a_later_start_does_not_hide_events_from_others(live: Live) -> None:
    job = live.submit(TUNE)
    claim = live.claim()
    for number in range(5):
        live.store.log(claim, f"sentence {number}")
    with stream(live, job, 6) as late, stream(live, job) as early:
        assert late.status_code == 200
        live.store.finish(claim, JobState.SUCCEEDED)
        total = live.store.events(job)[-1].seq
        assert [int(frame["id"]) for frame in frames(early)] == list(range(1, total + 1))
        assert [int(frame["id"]) for frame in frames(late)] == list(range(7, total + 1))


def test_a_silent_stream_is_kept_alive(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "PING_SECONDS", 0.0)
    job = live.submit(TUNE)
    with stream(live, job) as response:
        for line in response.iter_lines():
            if line == ": ping":
                break
        else:
            pytest.fail("the stream ended without a sign of life")


def test_the_stream_of_a_deleted_job_ends(live: Live) -> None:
    job = live.submit(TUNE)
    with stream(live, job) as response:
        reader = frames(response)
        assert next(reader)["id"] == "1"
        live.http.post(f"/jobs/{job}:cancel")
        live.http.delete(f"/jobs/{job}")
        assert len(list(reader)) <= 1


def test_open_streams_do_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    live = Live(tmp_path)
    job = live.submit(TUNE)
    with stream(live, job) as response:
        reader = frames(response)
        next(reader)
        live.stop()  # asserts that the server's thread ends
        assert list(reader) == []
