"""A tune job of 200 trials beside Ray Tune with its own OptunaSearch, and plain Optuna loops.

All search AdamW's learning rate and weight decay for `digits-mlp` with TPE, each trial 300 steps
of 64 examples, on two CPUs; jobs and peers alternate, since the machine's speed drifts. Ours is a
real job: from its submission to the state SUCCEEDED in SQLite, with every trial and its learning
curve recorded; the median of three. The start of the local Ray, once in a service's life, is shown
apart. The peers train as a person writes it: an `nn.Module`, autograd, `torch.optim.AdamW`, the
validation loss once at the end. Their trials take long, so only a part of the 200 is run, and less
where it takes more than the seconds given below: their time for 200 is extrapolated, as a trial's
time times 200, while ours is measured whole, start included. Tune's time of a trial is the wall
time, its start left out, by the trials, two of which run side by side; the loop's is the median.
"""

import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from torch import nn

from dsl.outcome import TrialState
from service.assembly import population_of
from service.cluster import connect
from service.dispatcher import Dispatcher
from service.jobs import JOB_SPEC
from service.resources import TERMINAL, JobState
from service.settings import Settings
from service.store.query import Query
from service.store.store import Store
from tests.benchmarks.results import record
from workers.batches import batch_order
from workers.tasks.registry import TASKS

TRIALS, TUNE_TRIALS, LOOP_TRIALS = 200, 24, 40
TUNE_SECONDS, LOOP_SECONDS = 60, 15
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


def job(store: Store, seed: int) -> tuple[float, float, list[float]]:
    """Submit the job; return the seconds to its first result and to its end, and all losses."""
    start, first = time.perf_counter(), 0.0
    record = store.create_job(JOB_SPEC.validate_python({**BODY, "seed": seed}))[0]
    while record.state not in TERMINAL:
        time.sleep(0.02)
        record = store.job(record.id)
        if not first and TrialState.COMPLETE in record.trials:
            first = time.perf_counter() - start
    seconds = time.perf_counter() - start
    if record.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"the job ended as {record.state}: {record.error}")
    page = store.trials(record.id, Query(page_size=TRIALS))
    return first, seconds, [trial.value for trial in page.items if trial.value is not None]


def tune_alone(folder: Path) -> tuple[float, list[float]]:
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


def loop(threads: int) -> tuple[float, list[float]]:
    """Run a plain Optuna study; return the seconds of a trial and all losses."""

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", *LR, log=True)
        return train(lr, trial.suggest_float("weight_decay", *DECAY, log=True))

    torch.set_num_threads(threads)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=LOOP_TRIALS, timeout=LOOP_SECONDS)
    durations = [trial.duration.total_seconds() for trial in study.trials if trial.duration]
    return statistics.median(durations), [trial.value for trial in study.trials if trial.value]


def _best(losses: Sequence[float]) -> str:
    counts = sorted({min(count, len(losses)) for count in (TUNE_TRIALS, LOOP_TRIALS, TRIALS)})
    return ", ".join(f"{min(losses[:count]):.4f} of {count}" for count in counts)


def _measure(store: Store, folder: Path) -> None:
    threads = torch.get_num_threads()
    jobs = [job(store, 0)]
    seconds_of_tune, tune_losses = tune_alone(folder)
    jobs.append(job(store, 1))
    loops = {count: loop(count) for count in sorted({threads, 1}, reverse=True)}
    torch.set_num_threads(threads)
    jobs.append(job(store, 2))
    first, whole, _ = sorted(jobs, key=lambda each: each[1])[1]
    own = whole / TRIALS
    together = population_of(JOB_SPEC.validate_python(BODY), concurrent=2)
    print(
        f"tune job: {1e3 * own:.1f} ms a trial ({whole:.1f} s for {TRIALS}, of which {first:.1f} s "
        f"to the first population; jobs took {', '.join(f'{each[1]:.1f}' for each in jobs)} s)"
    )
    for seed, (_, _, losses) in enumerate(jobs):
        print(f"  best loss, seed {seed}: {_best(losses)}")
    peers = [("Ray Tune, OptunaSearch", seconds_of_tune, tune_losses, 100.0)]
    for count, (seconds, losses) in loops.items():
        peers.append((f"plain Optuna loop, {count} thread(s)", seconds, losses, 10.0))
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
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune alone would print its tables among the figures.
    for name in ("ray.tune", "optuna"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url="", cpus=2)
        store = Store(settings.store_url())
        store.migrate()
        began = time.perf_counter()
        connect(settings)
        print(f"local Ray: {time.perf_counter() - began:.1f} s to start, once for all jobs")
        dispatcher = Dispatcher(store, settings)
        dispatcher.start()
        _measure(store, Path(home) / "tune")
        dispatcher.stop()
        ray.shutdown()
        store.close()


if __name__ == "__main__":
    main()
