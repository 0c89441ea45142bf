"""Ray out of reach: jobs wait, say why, and go on by themselves."""

import logging
import socket
from collections.abc import Iterator

import pytest
import ray

from service import cluster, dispatcher
from service.cluster import Unreachable, connect, first_line
from service.dispatcher import Dispatcher
from service.resources import JobState
from service.settings import Settings
from service.store.store import Store
from tests.service.test_dispatcher import TUNE, in_state, sentences, submit, wait_for


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    store = Store(sqlite_url)
    yield store
    store.close()


def test_jobs_wait_for_a_cluster_and_go_on_when_it_answers(
    store: Store,
    nowhere: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(dispatcher, "OUTAGE_SECONDS", (0.1,))
    monkeypatch.setenv("RAY_ADDRESS", nowhere)
    runner = Dispatcher(store, Settings())
    runner.start()
    try:
        jobs = [submit(store, TUNE)]
        wait_for(store, jobs[0], lambda job: bool(sentences(store, job.id)))
        jobs.append(submit(store, TUNE))
        for job_id in jobs:
            wait_for(store, job_id, lambda job: bool(sentences(store, job.id)))
            wait_for(store, job_id, in_state(JobState.QUEUED))
            assert sentences(store, job_id) == [
                f"The Ray cluster at {nowhere} cannot be reached: Connection refused; "
                "the job waits, and it is tried again."
            ]
        warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert len(warned) == 1
        assert nowhere in warned[0]
        assert "\n" not in warned[0]
        assert "".join(capfd.readouterr()) == ""
        request.getfixturevalue("local_ray")
        for job_id in jobs:
            wait_for(store, job_id, in_state(JobState.SUCCEEDED))
            # One sentence for the whole outage, however often it was tried.
            assert len(sentences(store, job_id)) == 1, sentences(store, job_id)
    finally:
        runner.stop()


def test_what_is_no_cluster_is_unreachable_with_its_reason(nowhere: str) -> None:
    if ray.is_initialized():
        ray.shutdown()
    for address in (nowhere, f"ray://{nowhere}", "host.invalid:6379", "127.0.0.1:99999"):
        with pytest.raises(Unreachable, match=f"^the Ray cluster at {address} cannot be"):
            connect(Settings(ray_address=address))


def test_rays_notices_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        died = "\x1b[33mA worker died or was killed. Much more.\nEven more."
        for text in (died, "Raylet is terminated. Why.\n", "Disk full.\n"):
            cluster._log_notice({"lines": [text]})
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("DEBUG", "Ray says: A worker died or was killed"),
        ("DEBUG", "Ray says: Raylet is terminated"),
        ("WARNING", "Ray says: Disk full."),
    ]


def test_the_first_line_of_an_error_is_its_kind_and_what_it_says() -> None:
    assert first_line(OSError("what\nwhere")) == "OSError: what"
    assert first_line(OSError()) == "OSError: "
