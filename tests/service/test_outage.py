"""Ray dies: it is noticed, told, and what ran goes on by itself on another one."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from service import cluster, run
from service.dispatcher import Dispatcher
from service.resources import JobState
from service.settings import Settings
from service.store.store import Store
from tests.service.test_dispatcher import (
    SLOW,
    TUNE,
    end_well,
    in_state,
    sentences,
    submit,
    told,
    wait_for,
    with_complete,
)
from tests.workers import judging

PATIENCE = 400
"""Seconds: a Ray and a driver that start anew take minutes where much else runs."""


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    store = Store(sqlite_url)
    yield store
    store.close()


def own_process(name: str) -> psutil.Process:
    """Return the process of this process's own Ray that has this name."""
    (process,) = [child for child in psutil.Process().children() if child.name() == name]
    return process


def open_to_others() -> list[str]:
    """Return the addresses, other than this machine's loopback, where our own Ray listens."""
    return [
        f"{child.name()} at {socket.laddr.ip}"
        for child in psutil.Process().children(recursive=True)
        for socket in child.net_connections("tcp")
        if socket.status == psutil.CONN_LISTEN and not socket.laddr.ip.endswith("127.0.0.1")
    ]


@pytest.mark.timeout(900)
def test_a_job_outlives_the_ray_that_it_runs_on(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RULESMITH_TEST_FOLDER", str(tmp_path))
    monkeypatch.setattr(run, "DEATHS", 0)  # One death of its own would fail the job.
    may_start, start = threading.Event(), cluster.connect
    runner = Dispatcher(store, Settings(cpus=2), build=SLOW)
    runner.start()
    try:
        job_id = submit(store, TUNE)
        wait_for(store, job_id, with_complete(3), PATIENCE)
        assert runner.outage is None
        assert open_to_others() == []
        monkeypatch.setattr(
            cluster, "connect", lambda settings: may_start.wait(2 * PATIENCE) and start(settings)
        )
        family = [p for p in psutil.Process().children(True) if p.name().startswith("ray::")]
        own_process("raylet").kill()
        wait_for(store, job_id, in_state(JobState.QUEUED))
        wait_for(store, job_id, lambda job: runner.outage is not None)
        assert runner.outage == ("the service's Ray has died and it is started again; jobs wait")
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert not alive, "workers outlive their Ray"
        before, done = judging.begun(tmp_path), told(store, job_id)
        may_start.set()
        wait_for(store, job_id, in_state(JobState.SUCCEEDED), PATIENCE)
        end_well(store, job_id)
        assert runner.outage is None
    finally:
        may_start.set()
        runner.stop()
    after = judging.begun(tmp_path)
    assert all(after[number] == before[number] == 1 for number in done)
    died, goes_on = sentences(store, job_id)
    assert died == (
        "the raylet of the service's own Ray died; the job waits, and goes on when Ray runs again."
    )
    assert goes_on.startswith(f"The job goes on: {len(done)} trials are done,")
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warned == [
        "the raylet of the service's own Ray died; its jobs wait, and it is started again",
        "Ray runs again; the jobs go on",
    ]
    assert "raylet" not in "".join(capfd.readouterr())
