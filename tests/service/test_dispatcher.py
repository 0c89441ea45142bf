"""The dispatcher with the real store, real Ray and real training: jobs to their end, and kills."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from dsl.candidate import Stage
from dsl.outcome import TrialState
from service import assembly
from service.dispatcher import Dispatcher, owner_name
from service.jobs import JOB_SPEC
from service.resources import TERMINAL, Job, JobState, Trial
from service.settings import Settings
from service.store.query import Query
from service.store.queue import Claim
from service.store.store import Store
from tests.workers import judging
from workers.driver import Plan

ROOT = Path(__file__).parent.parent.parent

TUNE = {
    "kind": "tune",
    "name": "a tune job",
    "task": {"name": "digits-mlp"},
    "optimizer": "sgd",
    "space": {"lr": {"type": "float", "low": 0.01, "high": 1.0, "log": True}},
    "sampler": {"name": "random"},
    "population": 3,
    "budget": {"trials": 24, "steps": 3},
}
DISCOVER = {
    "kind": "discover",
    "name": "a discover job",
    "task": {"name": "digits-mlp"},
    "population": 4,
    # So few are the same whichever population ends first, and some of them train.
    "strategy": {"name": "reinforcement", "leaders": 0},
    "budget": {"rules": 12},
    "protocol": {"learning_rates": [0.01, 0.1], "grid_steps": 3, "steps": 5},
    "comparison": {"top": 2, "seeds": 2, "steps": 5, "baselines": ["sgd", "adam"]},
}


def build_slow(job_json: str, past: assembly.Past) -> Plan:
    """The real plan, with populations that last long enough to be interrupted."""
    plan = assembly.build(job_json, past)
    return replace(plan, judge="tests.workers.judging:slowly", max_concurrent=1)


def build_shared(job_json: str, past: assembly.Past) -> Plan:
    """The real plan on all CPUs, with populations that last half a second."""
    return replace(assembly.build(job_json, past), judge="tests.workers.judging:slowly")


def build_unable(job_json: str, past: assembly.Past) -> Plan:
    """The real plan, of which no trial can be judged."""
    plan = assembly.build(job_json, past)
    return replace(plan, judge="tests.workers.judging:none_is_judged")


def build_broken(job_json: str, past: assembly.Past) -> Plan:
    raise LookupError("this plan cannot be made")


SLOW = f"{__name__}:build_slow"


@pytest.fixture
def dispatch(
    local_ray: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Store, Dispatcher]]]:
    """Start a dispatcher on a fresh store; all are stopped at the end."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    (local_ray / "diary").unlink(missing_ok=True)
    store = Store(sqlite_url)
    running: list[Dispatcher] = []

    def start(build: str = assembly.build.__module__ + ":build") -> tuple[Store, Dispatcher]:
        dispatcher = Dispatcher(store, Settings(), build=build)
        dispatcher.start()
        running.append(dispatcher)
        return store, dispatcher

    yield start
    for dispatcher in running:
        dispatcher.stop()
    store.close()


def submit(store: Store, body: dict[str, Any]) -> str:
    return store.create_job(JOB_SPEC.validate_python(body))[0].id


def wait_for(store: Store, job_id: str, wanted: Callable[[Job], bool], seconds: float = 120) -> Job:
    end = time.monotonic() + seconds
    while not wanted(job := store.job(job_id)):
        assert time.monotonic() < end, f"still {job.state} with {job.trials}: {job.error}"
        time.sleep(0.05)
    return job


def in_state(state: JobState) -> Callable[[Job], bool]:
    return lambda job: job.state is state


def with_complete(count: int) -> Callable[[Job], bool]:
    return lambda job: job.trials.get(TrialState.COMPLETE, 0) >= count


def trials(store: Store, job_id: str) -> tuple[Trial, ...]:
    return store.trials(job_id, Query(page_size=500)).items


def told(store: Store, job_id: str) -> set[int]:
    return {trial.number for trial in trials(store, job_id) if trial.state is TrialState.COMPLETE}


def sentences(store: Store, job_id: str) -> list[str]:
    return [event.body["sentence"] for event in store.events(job_id) if event.kind == "log"]


def end_well(store: Store, job_id: str) -> None:
    """Wait for success and check that every trial is there once, with its value."""
    job = wait_for(store, job_id, in_state(JobState.SUCCEEDED))
    assert job.trials == {TrialState.COMPLETE: TUNE["budget"]["trials"]}  # type: ignore[index]
    assert [trial.number for trial in trials(store, job_id)] == list(range(24))
    assert all(trial.value is not None for trial in trials(store, job_id))


def test_a_tune_and_a_discover_job_succeed(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch()
    higher = {"baselines": ["sgd", "adamw"], "tasks": ["wine", "diabetes"], "long": True}
    comparison = DISCOVER["comparison"] | higher  # type: ignore[operator]
    tune, discover = submit(store, TUNE), submit(store, DISCOVER | {"comparison": comparison})
    end_well(store, tune)
    wait_for(store, discover, in_state(JobState.SUCCEEDED))
    found = trials(store, discover)
    search = [trial for trial in found if trial.stage is Stage.SEARCH]
    compared = [trial for trial in found if trial.stage is Stage.COMPARISON]
    assert len(search) == 12
    assert len({trial.rule_id for trial in search}) == 12
    assert {trial.label for trial in compared} >= {"sgd", "adamw"}
    complete = [trial for trial in compared if trial.state is TrialState.COMPLETE]
    assert complete
    assert all("test_loss" in trial.metrics and trial.seeds == 2 for trial in complete)
    assert not any("test_loss" in trial.metrics for trial in search)
    climbed_well(store, found)


def climbed_well(store: Store, found: tuple[Trial, ...]) -> None:
    """Check the levels above the comparison, and what the leaderboard makes of them."""
    assert [trial.number for trial in found] == list(range(len(found)))
    best = [t.rule_id for t in found if t.stage is Stage.COMPARISON and t.label is None]
    names = ("sgd", "adamw")
    for task in ("wine", "diabetes"):
        unseen = [t for t in found if (t.stage, t.task) == (Stage.UNSEEN, task)]
        assert {t.label or t.rule_id for t in unseen} == {*best, *names}
    long = [trial for trial in found if trial.stage is Stage.LONG]
    assert {t.label or t.rule_id for t in long} == {*best, "adamw"}
    assert {(t.task, t.step) for t in long} == {("digits-mlp", 50)}
    (place,) = [s for s in store.rule(best[0]).standings if s.task == "digits-mlp"]
    assert place.evidence is not None
    assert place.evidence.unseen_tasks == ("wine", "diabetes")
    assert place.evidence.paired is not None
    assert place.evidence.long is not None
    assert (place.evidence.paired.steps, place.evidence.long.steps) == (5, 50)


def test_jobs_side_by_side_share_the_cpus_and_one_alone_has_them_all(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch(f"{__name__}:build_shared")
    first = submit(store, {**TUNE, "budget": {"trials": 20_000, "steps": 3}})

    def populations(count: int) -> Callable[[Job], bool]:
        return lambda job: job.trials.get(TrialState.RUNNING, 0) == 3 * count

    wait_for(store, first, populations(2))
    wait_for(store, first, with_complete(3))
    second = submit(store, DISCOVER)
    wait_for(store, second, with_complete(1))
    wait_for(store, first, populations(1))
    wait_for(store, second, in_state(JobState.SUCCEEDED))
    assert store.job(first).state is JobState.RUNNING
    wait_for(store, first, populations(2))
    store.request(first, "cancel")
    wait_for(store, first, in_state(JobState.CANCELLED))


def test_a_killed_worker_is_told_in_one_sentence(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
    local_ray: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store, _ = dispatch(SLOW)
    job_id = submit(store, TUNE)
    os.kill(judging.until_entries(local_ray, 1)[0], signal.SIGKILL)
    end_well(store, job_id)
    assert sentences(store, job_id) == [
        "A worker process died; the 3 trials it trained are started again."
    ]
    time.sleep(1)  # Ray's own notice comes by another way.
    printed = "".join(capfd.readouterr())
    assert "raylet" not in printed
    assert "\x1b" not in printed


def test_a_later_job_takes_over_what_an_earlier_one_found(
    dispatch: Callable[..., tuple[Store, Dispatcher]], local_ray: Path
) -> None:
    short = {"top": 1, "seeds": 2, "steps": 5, "learning_rates": [0.01, 0.1]}
    comparison = short | {"tasks": ["wine"], "long": True}
    body = DISCOVER | {"budget": {"rules": 4}, "comparison": comparison}
    store, dispatcher = dispatch(SLOW)
    first = submit(store, body)
    wait_for(store, first, in_state(JobState.SUCCEEDED))
    begun = len(judging.entries(local_ray))
    dispatcher.stop()  # what is known outlives the process
    dispatch(SLOW)
    again = submit(store, body | {"name": "the same again"})
    wait_for(store, again, in_state(JobState.SUCCEEDED))
    assert len(judging.entries(local_ray)) == begun, "something was trained twice"
    assert store.job(again).judged == 4
    sources = {trial.number: trial for trial in trials(store, first)}
    found = trials(store, again)
    assert {trial.stage for trial in found} == set(Stage)
    for trial in found:
        assert trial.origin is not None
        source = sources[trial.origin.number]
        assert (trial.origin.job_id, trial.cost_steps) == (first, 0)
        assert (trial.state, trial.metrics, trial.reason, trial.lr) == (
            *(source.state, source.metrics, source.reason, source.lr),
        )


def test_pause_and_resume_run_no_told_trial_again(
    dispatch: Callable[..., tuple[Store, Dispatcher]], local_ray: Path
) -> None:
    store, _ = dispatch(SLOW)
    job_id = submit(store, TUNE)
    wait_for(store, job_id, with_complete(3))
    asked = time.monotonic()
    store.request(job_id, "pause")
    wait_for(store, job_id, in_state(JobState.PAUSED))
    assert sentences(store, job_id) == ["The job is paused; what is done is kept."]
    assert time.monotonic() - asked < 10
    before, done = judging.begun(local_ray), told(store, job_id)
    assert 3 <= len(done) < 24
    store.request(job_id, "resume")
    end_well(store, job_id)
    assert sentences(store, job_id)[1].startswith(f"The job goes on: {len(done)} trials are done,")
    after = judging.begun(local_ray)
    assert all(after[number] == before[number] == 1 for number in done)


def test_points_are_tried_next_though_the_job_runs_already(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch(SLOW)
    job_id = submit(store, TUNE)
    asked = wait_for(store, job_id, with_complete(3)).trials
    store.enqueue(job_id, [{"lr": 0.625}, {"lr": 0.75}])
    wait_for(store, job_id, in_state(JobState.SUCCEEDED))
    trials = store.trials(job_id, Query(page_size=100, order_by="number")).items
    tried = [trial.parameters["lr"] for trial in trials]
    assert len(tried) == 24
    place = tried.index(0.625)
    assert sum(asked.values()) <= place < 21
    assert tried[place : place + 2] == [0.625, 0.75]


def test_a_point_that_comes_as_the_job_ends_is_tried(
    dispatch: Callable[..., tuple[Store, Dispatcher]], monkeypatch: pytest.MonkeyPatch
) -> None:
    late, finish = [{"lr": 0.625}], Store.finish

    def finish_late(store: Store, claim: Claim, state: JobState, error: str | None = None) -> None:
        if late:
            store.enqueue(claim.job_id, [late.pop()])
        finish(store, claim, state, error)

    monkeypatch.setattr(Store, "finish", finish_late)
    store, _ = dispatch()
    job_id = submit(store, TUNE)
    wait_for(store, job_id, in_state(JobState.SUCCEEDED))
    trials = store.trials(job_id, Query(page_size=100, order_by="number")).items
    assert len(trials) == 25, "a trial of the budget's 24 was given up for it"
    assert trials[-1].parameters["lr"] == 0.625
    assert trials[-1].state is TrialState.COMPLETE
    assert not any("not tried" in sentence for sentence in sentences(store, job_id))


def test_cancel_stops_a_running_job(
    dispatch: Callable[..., tuple[Store, Dispatcher]], local_ray: Path
) -> None:
    store, _ = dispatch(SLOW)
    job_id = submit(store, TUNE)
    judging.until_entries(local_ray, 1)
    store.request(job_id, "cancel")
    wait_for(store, job_id, in_state(JobState.CANCELLED))
    time.sleep(2 * judging.SECONDS)
    count = len(judging.entries(local_ray))
    time.sleep(2 * judging.SECONDS)
    assert len(judging.entries(local_ray)) == count, "its populations still run"


def test_a_killed_driver_is_started_again(
    dispatch: Callable[..., tuple[Store, Dispatcher]], local_ray: Path
) -> None:
    store, _ = dispatch(SLOW)
    job_id = submit(store, TUNE)
    wait_for(store, job_id, with_complete(3))
    drivers = [p for p in psutil.process_iter(["cmdline"]) if is_our_driver(p)]
    assert len(drivers) == 1
    before, done = judging.begun(local_ray), told(store, job_id)
    drivers[0].kill()
    end_well(store, job_id)
    after = judging.begun(local_ray)
    assert all(after[number] == before[number] == 1 for number in done)
    (sentence,) = sentences(store, job_id)
    assert sentence.startswith("The job's driver died and is started again (1 of 3): ")
    assert "\n" not in sentence


def is_our_driver(process: psutil.Process) -> bool:
    command = process.info["cmdline"] or [""]
    ours = psutil.Process().children(recursive=True)
    return command[0].startswith("ray::JobDriver.run") and process in ours


def test_a_stopped_dispatcher_gives_its_jobs_back(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, dispatcher = dispatch(SLOW)
    job_id = submit(store, TUNE)
    wait_for(store, job_id, with_complete(3))
    dispatcher.stop()
    job = store.job(job_id)
    assert job.state is JobState.QUEUED
    assert TrialState.RUNNING not in job.trials
    assert sentences(store, job_id)[0].startswith("The server stops; the job waits")
    dispatch(SLOW)
    end_well(store, job_id)


def test_a_search_that_finds_nothing_new_says_so(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch()
    space = {"lr": {"type": "categorical", "choices": [0.05, 0.1, 0.2]}}
    job_id = submit(store, TUNE | {"space": space, "sampler": {"name": "brute_force"}})
    wait_for(store, job_id, in_state(JobState.SUCCEEDED))
    assert sentences(store, job_id) == [
        "The search ends after 3 of 24 points: it finds no other ones."
    ]


def test_a_job_of_which_every_trial_fails_has_failed(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch(f"{__name__}:build_unable")
    job_id = submit(store, TUNE)
    job = wait_for(store, job_id, lambda job: job.state in TERMINAL)
    assert job.state is JobState.FAILED
    assert job.error == "all 24 trials failed; trial 0: ArithmeticError: this cannot be judged"


def test_a_plan_that_cannot_be_made_fails_the_job_with_its_reason(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch(f"{__name__}:build_broken")
    job_id = submit(store, TUNE)
    job = wait_for(store, job_id, in_state(JobState.FAILED))
    assert job.error == "LookupError: this plan cannot be made"


def does_work(process: psutil.Process) -> bool:
    """Say if it is Ray's core or a worker; Ray's idle agents leave when they notice."""
    return process.name() in ("raylet", "gcs_server") or "JobDriver" in process.name()


SERVER = """
import sys, time
from service.dispatcher import Dispatcher
from service.settings import Settings
from service.store.store import Store
settings = Settings(cpus=2)
Dispatcher(Store(settings.store_url()), settings, build=sys.argv[1]).start()
time.sleep(600)
"""


def test_a_killed_server_loses_nothing(
    dispatch: Callable[..., tuple[Store, Dispatcher]], sqlite_url: str, local_ray: Path
) -> None:
    store = Store(sqlite_url)
    job_id = submit(store, TUNE)
    environment = {
        **os.environ,
        "DATABASE_URL": sqlite_url,
        "RULESMITH_TEST_FOLDER": str(local_ray),
        "PYTHONPATH": str(ROOT),
    }
    server = subprocess.Popen([sys.executable, "-c", SERVER, SLOW], env=environment, cwd=ROOT)
    try:
        wait_for(store, job_id, with_complete(3))
        family = [p for p in psutil.Process(server.pid).children(True) if does_work(p)]
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert family
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, "Ray outlives its server"
    before, done = judging.begun(local_ray), told(store, job_id)
    assert store.job(job_id).state is JobState.RUNNING
    dispatch(SLOW)
    end_well(store, job_id)
    after = judging.begun(local_ray)
    assert all(after[number] == before[number] == 1 for number in done)
    assert any(sentence.startswith("The job goes on: ") for sentence in sentences(store, job_id))
    store.close()


def test_owners_are_the_same_after_a_restart_where_one_process_owns_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert owner_name(Settings(home=tmp_path)) == "embedded"
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/rulesmith")
    assert str(os.getpid()) in owner_name(Settings())
