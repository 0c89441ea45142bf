"""A tune job of 200 trials beside Ray Tune with its own OptunaSearch, and plain Optuna loops.

All search AdamW's learning rate and weight decay for `digits-mlp` with TPE, each trial 300 steps
of 64 examples, on two CPUs. Ours is what a user of a running service waits for: from POST /jobs
until GET /jobs/ID says SUCCEEDED, over HTTP and SQLite, with every trial and its learning curve
recorded. The peers train as a person writes it: an `nn.Module`, autograd, `torch.optim.AdamW`, the
validation loss once at the end.

No side pays for the start of Ray, nor for imports in the process that begins: our service has had
a job before, Ray Tune runs on the very same Ray, with the service stopped so that both CPUs are
free, and a loop has torch and Optuna loaded. Processes that a side starts for its trials are that
side's: our service keeps some between jobs, Tune starts one for every trial. The first job after
the service's start, submitted at once, is shown apart. All processes have the same priority (Ray
would give its own a lower one, at the cost of whoever uses Ray, where a machine is not idle).

The sides take turns, `ROUNDS` times, and the medians are compared, since the machine's speed
drifts. The peers' trials take long, so only a part of the 200 is run, and less where it takes more
than the seconds given below: their time for 200 is extrapolated, as a trial's time times 200,
while ours is measured whole. Tune's time of a trial is the wall time, its start left out, by the
trials, two of which run side by side; the loop's is the median.
"""

import logging
import os
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import optuna
import ray
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from torch import nn

from service.assembly import population_of
from service.cluster import connect
from service.dispatcher import Dispatcher
from service.jobs import JOB_SPEC
from service.server import web_server
from service.settings import Settings
from service.store.store import Store
from tests.benchmarks.results import record
from workers.batches import batch_order
from workers.tasks.registry import TASKS

TRIALS, TUNE_TRIALS, LOOP_TRIALS = 200, 12, 20
TUNE_SECONDS, LOOP_SECONDS = 30, 5
ROUNDS = 3
JOBS = 2
"""Of ours in a round, after the first."""

POLL_SECONDS = 0.05
"""Between two looks at the job's state. A tenth of what `Client.wait` waits: at 0.01 the answers
to the looks themselves took a sixth of the job's time."""

ENDS = {"SUCCEEDED", "FAILED", "CANCELLED"}
STEPS, BATCH = 300, 64
LR, DECAY = (1e-5, 1.0), (1e-6, 0.1)
BODY = {
    "kind": "tune",
    "name": "adamw on digits",
    "task": {"name": "digits-mlp"},
    "optimizer": "adamw",
    "space": {
        "lr": {"type": "float", "low": LR[0], "high": LR[1], "log": True},
        "weight_decay": {"type": "float", "low": DECAY[0], "high": DECAY[1], "log": True},
    },
    "budget": {"trials": TRIALS},
}


Run = tuple[float, list[float]]
"""Seconds of a trial, and all losses."""

Job = tuple[float, float, list[float]]
"""Seconds to the first result and to the end, and all losses."""


def train(lr: float, weight_decay: float) -> float:
    """Return the validation loss after an ordinary PyTorch loop."""
    task = TASKS["digits-mlp"]
    inputs, targets = task.examples("train")
    module = task.initial(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr, weight_decay=weight_decay)
    for batch in batch_order(0, len(inputs), BATCH, STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
    inputs, targets = task.examples("validation")
    with torch.no_grad():
        return float(nn.functional.cross_entropy(module(inputs), targets))


def job(http: httpx.Client, seed: int) -> Job:
    """Submit the job; return the seconds to its first result and to its end, and all losses."""
    start, first = time.perf_counter(), 0.0
    job = http.post("/jobs", json={**BODY, "seed": seed}).raise_for_status().json()
    while job["state"] not in ENDS:
        time.sleep(POLL_SECONDS)
        job = http.get(f"/jobs/{job['id']}").raise_for_status().json()
        if not first and job["trials"].get("COMPLETE"):
            first = time.perf_counter() - start
    seconds = time.perf_counter() - start
    if job["state"] != "SUCCEEDED":
        raise RuntimeError(f"the job ended as {job['state']}: {job['error']}")
    page = http.get(f"/jobs/{job['id']}/trials", params={"page_size": TRIALS}).json()
    losses = [each["value"] for each in page["items"] if each["value"] is not None]
    return first, seconds, losses


def tune_alone(folder: Path) -> Run:
    """Run Ray Tune; return the seconds of a trial and all losses."""

    def trainable(config: dict[str, Any]) -> dict[str, float]:
        began = time.time()
        return {"loss": train(config["lr"], config["weight_decay"]), "began": began}

    tuner = tune.Tuner(
        trainable,
        param_space={"lr": tune.loguniform(*LR), "weight_decay": tune.loguniform(*DECAY)},
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="loss", mode="min"),
            num_samples=TUNE_TRIALS,
            time_budget_s=TUNE_SECONDS,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    results = [result.metrics or {} for result in tuner.fit()]
    done = [result for result in results if "loss" in result]
    seconds = time.time() - min(result["began"] for result in done)
    return seconds / len(done), [result["loss"] for result in done]


def loop(threads: int, seed: int) -> Run:
    """Run a plain Optuna study; return the seconds of a trial and all losses."""

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", *LR, log=True)
        return train(lr, trial.suggest_float("weight_decay", *DECAY, log=True))

    torch.set_num_threads(threads)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=LOOP_TRIALS, timeout=LOOP_SECONDS)
    durations = [trial.duration.total_seconds() for trial in study.trials if trial.duration]
    return statistics.median(durations), [trial.value for trial in study.trials if trial.value]


def _median(runs: list[Run]) -> Run:
    return sorted(runs, key=lambda each: each[0])[len(runs) // 2]


def _best(losses: Sequence[float]) -> str:
    counts = sorted({min(count, len(losses)) for count in (TUNE_TRIALS, LOOP_TRIALS, TRIALS)})
    return ", ".join(f"{min(losses[:count]):.4f} of {count}" for count in counts)


@contextmanager
def service(settings: Settings) -> Iterator[httpx.Client]:
    """Run the service, beside the Ray that runs already."""
    store = Store(settings.store_url())
    store.migrate()
    server = web_server(store, settings)
    dispatcher = Dispatcher(store, settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    dispatcher.start()
    while not server.started:
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=f"{server.address()}/api/v1", trust_env=False) as http:
            yield http
    finally:
        dispatcher.stop()
        server.stop()
        thread.join()
        store.close()


def _measure(home: Path) -> None:
    threads = torch.get_num_threads()
    counts = sorted({threads, 1}, reverse=True)
    starts, jobs, tunes = [], [], []
    loops: dict[int, list[tuple[float, list[float]]]] = {count: [] for count in counts}
    for turn in range(ROUNDS):
        settings = Settings(home=home / f"service-{turn}", database_url="", cpus=2, port=0)
        with service(settings) as http:
            starts.append(job(http, 100 + turn)[1])
            jobs += [job(http, JOBS * turn + each) for each in range(JOBS)]
        tunes.append(tune_alone(home / f"tune-{turn}"))
        for count in counts:
            loops[count].append(loop(count, turn))
        torch.set_num_threads(threads)
    first, whole, _ = sorted(jobs, key=lambda each: each[1])[len(jobs) // 2]
    _tell(first, whole, starts, jobs)
    _compare(first, whole, tunes, loops)


def _tell(first: float, whole: float, starts: list[float], jobs: list[Job]) -> None:
    print(
        f"tune job: {1e3 * whole / TRIALS:.1f} ms a trial ({whole:.2f} s for {TRIALS}, of which "
        f"{first:.2f} s to the first population; jobs took "
        f"{', '.join(f'{each[1]:.2f}' for each in jobs)} s, the first ones after the service's "
        f"start {', '.join(f'{each:.2f}' for each in starts)} s)"
    )
    for seed, (_, _, losses) in enumerate(jobs):
        print(f"  best loss, seed {seed}: {_best(losses)}")


def _compare(first: float, whole: float, tunes: list[Run], loops: dict[int, list[Run]]) -> None:
    own = whole / TRIALS
    together = population_of(JOB_SPEC.validate_python(BODY), concurrent=2)
    peers = [("Ray Tune, OptunaSearch", *_median(tunes), 100.0)]
    for count, runs in loops.items():
        peers.append((f"plain Optuna loop, {count} thread(s)", *_median(runs), 10.0))
    for name, seconds, losses, wanted in peers:
        ratio, after = seconds / own, seconds * (TRIALS - together) / (whole - first)
        print(
            f"{name}: {1e3 * seconds:.0f} ms a trial, {ratio:.1f} times ours ({after:.0f} times "
            f"after our first population); extrapolated from {len(losses)} trials, {TRIALS} would "
            f"take {seconds * TRIALS:.0f} s; best loss: {_best(losses)}"
        )
        record(
            f"a tune job of {TRIALS} trials, digits-mlp",
            ratio,
            peer=name,
            at_least=wanted,
            seconds_of_peer=seconds,
            trials_of_peer=len(losses),
            seconds_of_job=whole,
            seconds_to_first=first,
            ratio_after_first=after,
        )


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune alone would print its tables among the figures.
    for name in ("ray.tune", "optuna"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        connect(Settings(home=Path(home), database_url="", cpus=2))
        print(f"local Ray: {time.perf_counter() - began:.1f} s to start, once for all jobs")
        _measure(Path(home))
        ray.shutdown()


if __name__ == "__main__":
    main()
