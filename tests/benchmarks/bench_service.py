"""The service's own cost per trial, on trials that do nothing, beside plain Ray Tune's.

Both run on the same local Ray with two CPUs, the peer before there is a dispatcher, whose waiting
workers would hold a part of them. The service has had a job before. Its time is from the
submission to the state SUCCEEDED in SQLite, so it holds the driver, the searcher, every write; of
it the start, until the first trials are recorded, is shown apart. The peer is a function trainable
under `tune.Tuner` as its documentation shows it.
"""

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from dsl.candidate import Proposal
from dsl.outcome import Outcome, TrialState
from service import assembly
from service.cluster import connect
from service.dispatcher import Dispatcher
from service.jobs import JOB_SPEC
from service.resources import TERMINAL, JobState
from service.settings import Settings
from service.store.store import Store
from tests.benchmarks.results import record
from workers.driver import Plan
from workers.protocol import Evaluation

TRIALS = 256
PEER_TRIALS = 10
POPULATIONS = (1, 64)


def judge_nothing(
    evaluation: Evaluation, proposals: Sequence[Proposal], *, device: str = "cpu"
) -> list[Outcome]:
    """Say of every proposal at once that its loss is its learning rate."""
    return [
        Outcome(
            number=proposal.number,
            state=TrialState.COMPLETE,
            metrics={"validation_loss": proposal.candidate.lr or 0.0},
        )
        for proposal in proposals
    ]


def build(job_json: str, past: assembly.Past) -> Plan:
    """Return the real plan, without the training."""
    plan = assembly.build(job_json, past)
    return replace(plan, judge="tests.benchmarks.bench_service:judge_nothing")


def seconds_of_job(store: Store, population: int) -> tuple[float, float]:
    """Submit a job of trials that do nothing; return the seconds to its first result and end."""
    body = {
        "kind": "tune",
        "name": "nothing",
        "task": {"name": "digits-mlp"},
        "optimizer": "sgd",
        "seed": population,  # equal jobs would take each other's outcomes over
        "space": {"lr": {"type": "float", "low": 0.001, "high": 1.0, "log": True}},
        "sampler": {"name": "random"},
        "population": population,
        "budget": {"trials": TRIALS},
    }
    start = time.perf_counter()
    job = store.create_job(JOB_SPEC.validate_python(body))[0]
    first = 0.0
    while job.state not in TERMINAL:
        time.sleep(0.02)
        job = store.job(job.id)
        if not first and TrialState.COMPLETE in job.trials:
            first = time.perf_counter() - start
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"the job ended as {job.state}: {job.error}")
    return first, time.perf_counter() - start


def seconds_of_peer(folder: Path) -> float:
    """Run trials that do nothing under Ray Tune alone."""

    def nothing(config: dict[str, Any]) -> dict[str, float]:
        return {"validation_loss": config["lr"]}

    start = time.perf_counter()
    tuner = tune.Tuner(
        nothing,
        param_space={"lr": tune.loguniform(0.001, 1.0)},
        tune_config=tune.TuneConfig(num_samples=PEER_TRIALS, metric="validation_loss", mode="min"),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    tuner.fit()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune alone would print its tables among the figures.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url="", cpus=2)
        store = Store(settings.store_url())
        store.migrate()
        connect(settings)
        # Before there is a dispatcher, whose waiting workers would hold CPUs.
        peer = seconds_of_peer(Path(home) / "peer") / PEER_TRIALS
        print(f"Ray Tune, function trainable: {1e3 * peer:8.1f} ms per trial, {PEER_TRIALS} trials")
        dispatcher = Dispatcher(store, settings, build="tests.benchmarks.bench_service:build")
        dispatcher.start()
        seconds_of_job(store, TRIALS)  # after which a driver waits
        for population in POPULATIONS:
            first, whole = seconds_of_job(store, population)
            own = whole / TRIALS
            print(
                f"service, population {population:3}:      {1e3 * own:8.1f} ms per trial, "
                f"{TRIALS} trials, {peer / own:6.1f} times less ({first:.1f} s to start, then "
                f"{1e3 * (whole - first) / (TRIALS - population):.1f} ms per trial)"
            )
            record(
                f"the service's cost of a no-op trial, populations of {population}",
                peer / own,
                "times less",
                peer="Ray Tune with a function trainable, per trial",
                ours_ms=1e3 * own,
                peer_ms=1e3 * peer,
                start_s=first,
            )
        dispatcher.stop()
        ray.shutdown()
        store.close()


if __name__ == "__main__":
    main()
