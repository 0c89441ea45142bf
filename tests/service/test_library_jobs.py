"""Jobs that name other libraries' optimizers: tuned by real Ray, compared by the real judge."""

import time
from pathlib import Path
from typing import Any

import pytest

from dsl.candidate import Stage
from dsl.outcome import TrialState
from search.comparison import WithComparison
from service.assembly import strategy_of
from service.dispatcher import Dispatcher
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC
from service.resources import TERMINAL, JobState
from service.settings import Settings
from service.store.query import Query
from service.store.store import Store
from workers.evaluation import judge

LR = {"type": "float", "low": 1e-3, "high": 1e-1, "log": True}
COMMON: dict[str, Any] = {"name": "a job", "task": {"name": "digits-mlp"}, "population": 4}
TUNE = COMMON | {
    "kind": "tune",
    "optimizer": "soap",
    "space": {"lr": LR, "beta1": {"type": "float", "low": 0.8, "high": 0.99},
              "precondition_frequency": {"type": "int", "low": 2, "high": 12}},
    "budget": {"trials": 4, "steps": 20},
}  # fmt: skip
DISCOVER = COMMON | {
    "kind": "discover",
    "strategy": {"name": "random"},
    "budget": {"rules": 3},
    "protocol": {"learning_rates": [0.01, 0.1], "grid_steps": 3, "steps": 10},
    "comparison": {
        "top": 1,
        "seeds": 2,
        "steps": 10,
        "learning_rates": [0.01, 0.1],
        "baselines": ["adamw", "muon"],
    },
}


def test_one_is_tuned(local_ray: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    store = Store(sqlite_url)
    job_id = store.create_job(JOB_SPEC.validate_python(TUNE))[0].id
    dispatcher = Dispatcher(store, Settings())
    dispatcher.start()
    try:
        end = time.monotonic() + 240
        while (job := store.job(job_id)).state not in TERMINAL:
            assert time.monotonic() < end, job
            time.sleep(0.1)
    finally:
        dispatcher.stop()
    assert job.state is JobState.SUCCEEDED, job.error
    trials = store.trials(job_id, Query(page_size=100)).items
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert len({trial.value for trial in trials}) == 4
    assert {(trial.rule, trial.one_by_one) for trial in trials} == {
        ("pytorch_optimizer.SOAP", True)
    }
    (standing,) = store.standings(Query(page_size=50)).items
    assert (standing.label, standing.rule) == ("soap", "pytorch_optimizer.SOAP")
    assert standing.value == min(trial.value for trial in trials)
    store.close()


def test_one_is_compared_with_what_a_search_finds() -> None:
    job = JOB_SPEC.validate_python(DISCOVER)
    strategy = strategy_of(job)
    assert isinstance(strategy, WithComparison)
    told = {}
    while not strategy.finished:
        proposals = strategy.ask(4)
        outcomes = judge(evaluation_of(job), proposals)
        strategy.tell(outcomes)
        told |= {p.label: o for p, o in zip(proposals, outcomes, strict=True)
                 if p.stage is Stage.COMPARISON}  # fmt: skip
    assert told.keys() >= {"adamw", "muon"}
    assert [told[name].one_by_one for name in ("adamw", "muon")] == [False, True]
    for name in ("adamw", "muon"):
        assert told[name].state is TrialState.COMPLETE
        # Two rates are tried, and the better one is trained once more and tested.
        assert (told[name].seeds, told[name].cost_steps) == (2, 3 * 2 * 10)
        assert "test_loss" in told[name].metrics
