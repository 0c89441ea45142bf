"""The driver on a real Ray: what it streams, and what dies without loss."""

import json
import os
import pickle
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util import placement_group_table

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.sampler_settings import RandomPoints
from search.settings import Objective
from search.space import Float
from search.tune_searcher import ATTEMPTS, PopulationSearcher
from search.tuning import OptunaStrategy
from tests.workers import judging
from workers.crew import CREWS, Crew
from workers.desk import Asked, Desk, Lost, Message, Note, Told
from workers.driver import JobDriver, Plan, employ, release
from workers.protocol import Evaluation, Protocol, TaskSpec
from workers.tuner import Recorder

BUILD = "tests.workers.test_driver:build"
History = list[tuple[Proposal, Outcome | None]]

pytestmark = pytest.mark.usefixtures("local_ray")


def build(job_json: str, history: tuple[History, bytes | None]) -> Plan:
    job = json.loads(job_json)
    strategy = OptunaStrategy(
        {"lr": Float(low=0.01, high=1.0, log=True)},
        RandomPoints(),
        Objective(metric=job.get("metric", "validation_loss")),
        job["budget"],
        Candidate(rule="g"),
        seed=0,
    )
    strategy.restore(*history)
    evaluation = Evaluation(
        task=TaskSpec(name="digits-mlp"), protocols={Stage.SEARCH: Protocol(steps=2)}
    )
    return Plan(
        PopulationSearcher(strategy, job["population"], spread=1),
        evaluation.model_dump(mode="json"),
        max_concurrent=job.get("concurrent", 1),
        judge=job["judge"],
    )


class Running:
    """A driver at work, and what it has said so far."""

    def __init__(self, budget: int, judge: str, history: History | None = None, **job: Any) -> None:
        self.name = f"test-{uuid.uuid4().hex}"
        self.actor: Any = employ(self.name, job.pop("jobs", 1))
        job = {"budget": budget, "population": 4, "judge": f"tests.workers.judging:{judge}", **job}
        run = self.actor.run.options(num_returns="streaming")
        self.stream = run.remote(BUILD, json.dumps(job), (history or [], None))
        self.messages: list[Message] = []
        RUNNING.append(self)

    def __iter__(self) -> Iterator[Message]:
        for reference in self.stream:
            message = ray.get(reference)
            self.messages.append(message)
            yield message

    def end(self) -> None:
        ray.kill(self.actor)
        release(self.name)

    def to_end(self, kill_after: int | None = None) -> "Running":
        for _ in self:
            if kill_after is not None and len(self.told) >= kill_after:
                ray.kill(self.actor)
        return self

    @property
    def told(self) -> list[int]:
        told = [m for m in self.messages if isinstance(m, Told)]
        return [outcome.number for message in told for outcome in message.outcomes]

    @property
    def asked(self) -> list[int]:
        asked = [m for m in self.messages if isinstance(m, Asked)]
        return [proposal.number for message in asked for proposal in message.proposals]

    def history(self) -> History:
        outcomes: dict[int, Outcome] = {}
        proposals: dict[int, Proposal] = {}
        for message in self.messages:
            if isinstance(message, Asked):
                proposals |= {proposal.number: proposal for proposal in message.proposals}
            elif isinstance(message, Told):
                outcomes |= {outcome.number: outcome for outcome in message.outcomes}
        return [(proposals[n], outcomes.get(n)) for n in sorted(proposals)]


RUNNING: list[Running] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """End the drivers that a test has started: none ends by itself."""
    yield
    while RUNNING:
        RUNNING.pop().end()


@pytest.fixture
def folder(local_ray: Path) -> Iterator[Path]:
    yield local_ray
    (local_ray / "diary").unlink(missing_ok=True)


def test_a_job_streams_every_trial_once(folder: Path) -> None:
    job = Running(18, "slowly", concurrent=2)
    seen: set[int] = set()
    for message in job:
        if isinstance(message, Asked):
            seen |= {proposal.number for proposal in message.proposals}
        else:
            assert isinstance(message, Told)
            assert {outcome.number for outcome in message.outcomes} <= seen
    assert sorted(job.asked) == sorted(job.told) == list(range(18))
    assert set(judging.begun(folder).values()) == {1}


def test_a_killed_worker_costs_a_retry(folder: Path) -> None:
    job = Running(8, "slowly")
    killed = judging.until_entries(folder, 1)[0]
    os.kill(killed, signal.SIGKILL)
    job.to_end()
    assert sorted(job.told) == list(range(8))
    assert len(job.asked) == 8, "the searcher must not hear of it"
    assert sorted(judging.begun(folder).values()) == [1] * 4 + [2] * 4
    told = [message.sentence for message in job.messages if isinstance(message, Note)]
    assert told == ["A worker process died; the 4 trials it trained are started again."]


def test_a_driver_reserves_in_its_own_name_beside_others(folder: Path) -> None:
    first = Running(2000, "slowly", jobs=2)
    worker = judging.until_entries(folder, 1)[0]
    second = Running(2000, "slowly", jobs=2)
    next(iter(second))
    # Until the first has out what it asked beside the second.
    judging.until_entries(folder, len(judging.entries(folder)) + 8)
    os.kill(worker, signal.SIGKILL)
    next(message for message in first if isinstance(message, Note))
    next(message for message in first if isinstance(message, Told))
    groups = [group["name"].rpartition(".")[0] for group in placement_group_table().values()]
    assert groups.count(first.name) == 2, "for the worker that was killed and the one after it"


def test_a_killed_driver_is_followed_by_one_that_goes_on(folder: Path) -> None:
    first = Running(24, "slowly")
    with pytest.raises(RayActorError):
        first.to_end(kill_after=8)
    release(first.name)
    done, history = first.told, first.history()
    before = judging.begun(folder)
    second = Running(24, "slowly", history).to_end()
    assert sorted(done + second.told) == list(range(24))
    open_ones = [proposal.number for proposal, outcome in history if outcome is None]
    assert sorted(second.asked)[: len(open_ones)] == open_ones
    after = judging.begun(folder)
    assert all(after[number] == before[number] == 1 for number in done), "a told trial ran again"


def test_what_raises_alone_is_lost_alone() -> None:
    job = Running(8, "one_raises").to_end()
    assert sorted(job.told) == [n for n in range(8) if n != judging.BAD]
    lost = [message for message in job.messages if isinstance(message, Lost)]
    assert [message.numbers for message in lost] == [(judging.BAD,)] * ATTEMPTS
    assert lost[0].error == f"ArithmeticError: proposal {judging.BAD} is bad"


def test_a_search_that_raises_ends_the_stream_with_its_own_error() -> None:
    job = Running(8, "one_raises", metric="no_such_metric")
    with pytest.raises(RayTaskError) as raised:
        job.to_end()
    assert "no_such_metric" in str(raised.value.cause)


def test_a_finished_job_asks_nothing() -> None:
    job = json.dumps({"budget": 4, "population": 4, "judge": ""})
    plan = build(job, ([], None))
    config = plan.searcher.suggest("one")
    assert config is not None
    history = [
        (
            proposal := Proposal.model_validate(entry),
            Outcome(
                number=proposal.number,
                state=TrialState.COMPLETE,
                metrics={"validation_loss": 1.0},
            ),
        )
        for entry in config["population"]
    ]
    assert list(JobDriver("finished").run(BUILD, job, (history, None))) == []


def test_a_copied_searcher_works_at_the_same_desk() -> None:
    plan = build(json.dumps({"budget": 4, "population": 4, "judge": ""}), ([], None))
    crew = CREWS["here"] = Crew()
    try:
        crew.begin(desk := Desk(plan.searcher, lambda: 1))
        copy = pickle.loads(pickle.dumps(Recorder("here")))
        assert copy.suggest("one")["population"]
        assert isinstance(desk.messages.get(timeout=1), Asked)
    finally:
        del CREWS["here"]


def test_a_driver_that_gets_no_worker_says_so() -> None:
    @ray.remote(num_cpus=2)
    class Neighbour:
        def ready(self) -> bool:
            return True

    neighbour: Any = Neighbour.remote()  # type: ignore[attr-defined]
    ray.get(neighbour.ready.remote())
    driver = employ("waits", workerless_seconds=2.0)
    job = json.dumps({"budget": 4, "population": 4, "judge": "tests.workers.judging:slowly"})
    stream = driver.run.options(num_returns="streaming").remote(BUILD, job, ([], None))
    messages = []
    for reference in stream:
        messages.append(ray.get(reference))
        if isinstance(messages[-1], Note):
            ray.kill(neighbour)
    ray.kill(driver)
    release("waits")
    assert [type(message) for message in messages] == [Asked, Note, Told], messages
    assert "No worker has been free for 2 seconds" in messages[1].sentence
