"""The driver of a job: a Ray actor that runs a Tuner and streams what happens.

The driver has no database: whoever reads the stream writes. It may be killed at any moment; what
was not streamed is then asked again from the history in SQL.
"""

import logging
import math
import os
import shutil
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.registry import _unregister_trainables
from ray.tune.search import Searcher
from ray.util import list_named_actors
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from dsl.candidate import Proposal
from dsl.outcome import Outcome
from workers.desk import Asked, Desk, Lost, Message, Note, PopulationSource, Told
from workers.sharing import on_gpus, per_gpu, share, slot
from workers.trainable import JUDGE, PopulationTrainable, resolve

RETRIES = 3
"""How often Tune starts a population anew whose worker process died."""

WORKERLESS_SECONDS = 60.0
"""How long a job may be without any worker before it says so."""

COUNT_SECONDS = 1.0
"""How often a driver looks how many others run beside it."""

_SCRATCH = "rulesmith-driver-"

_NAMES = "rulesmith.driver."
"""How the names of driver actors begin, by which drivers find each other on a cluster."""

_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""How Tune is told, in the driver's process, to write no log files and no snapshots."""


@dataclass(frozen=True)
class Plan:
    """How a job runs: what `build(job_json, history)` returns, in the driver."""

    searcher: PopulationSource
    evaluation: dict[str, Any]
    """An `Evaluation` as JSON."""

    max_concurrent: int
    """Populations that are trained at the same time where the job runs alone."""

    gpus: float = 0.0
    """Above 0, a population takes a GPU, or the part of one that is its share; else a CPU."""

    judge: str = JUDGE


def capacity() -> tuple[int, float]:
    """Return how many populations the cluster trains at once, and the GPUs each takes.

    On a cluster with GPUs a population takes one; else it takes a CPU.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0))
    return (gpus, 1.0) if gpus else (max(1, int(resources.get("CPU", 1))), 0.0)


_DESKS: dict[str, Desk] = {}
"""The desks of this process, by key: Tune pickles and copies its searcher, queues do not."""


class _Recorder(Searcher):
    """Stand between Tune and the plan's searcher and stream what passes.

    It holds only its desk's key, so a copy of it works at the same desk.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        desk = _DESKS[self._key]
        with desk.noting_failure():
            if desk.allowed is not None and len(desk.out) >= desk.allowed():
                return None
            config = desk.source.suggest(trial_id)
            known = desk.source.taken_over()
        if known:
            proposals, outcomes = zip(*known, strict=True)
            desk.messages.put(Asked(proposals=proposals))
            desk.messages.put(Told(outcomes=outcomes, snapshot=desk.source.snapshot()))
        if isinstance(config, dict):
            proposals = tuple(Proposal.model_validate(entry) for entry in config["population"])
            desk.out[trial_id] = tuple(proposal.number for proposal in proposals)
            desk.waiting.add(trial_id)
            desk.messages.put(Asked(proposals=proposals))
        return config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        desk = _DESKS[self._key]
        numbers = desk.out.pop(trial_id, ())
        desk.worked(trial_id)
        with desk.noting_failure():
            desk.source.on_trial_complete(trial_id, result=result, error=error)
        answered = [] if error or result is None else result["outcomes"]
        outcomes = tuple(Outcome.model_validate(entry) for entry in answered)
        if outcomes:
            desk.messages.put(Told(outcomes=outcomes, snapshot=desk.source.snapshot()))
        missing = set(numbers) - {outcome.number for outcome in outcomes}
        reasons = {} if result is None else {e["number"]: e["error"] for e in result["lost"]}
        died = f"the worker process died {RETRIES + 1} times while it trained this population"
        by_reason: dict[str, list[int]] = {}
        for number in sorted(missing):
            by_reason.setdefault(reasons.get(number, died), []).append(number)
        for reason, some in by_reason.items():
            desk.messages.put(Lost(numbers=tuple(some), error=reason))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: the one result is also the last."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: SQL is the only truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a job is rebuilt from SQL."""


class _Witness(Callback):
    """See what Tune does with its trials, and empty those that are done: Tune keeps them all."""

    def __init__(self, key: str) -> None:
        self._key = key

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _DESKS[self._key].worked(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        desk = _DESKS[self._key]
        count = len(desk.out.get(trial.trial_id, ()))
        desk.waiting.add(trial.trial_id)
        what = "its trial is" if count == 1 else f"the {count} trials it trained are"
        desk.messages.put(Note(sentence=f"{_failure(trial)}; {what} started again."))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.config["population"].clear()
        # The config again, as suggested, and as text.
        trial.evaluated_params["population"].clear()
        trial.experiment_tag = ""
        trial.last_result["outcomes"].clear()


def _failure(trial: Any) -> str:
    """Say what became of a trial's worker; a process that just vanished leaves no more to say."""
    # Not `get_pickled_error`: that reads what is copied to the storage later.
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if not isinstance(error, RayActorError):
        return f"A worker failed with {type(error).__name__}: {lines[-1][:300]}"
    if "its worker process has died" in lines[-1]:
        return "A worker process died"
    return f"A worker process died ({lines[-1][:300]})"


class _Reserved(tune.PlacementGroupFactory):
    """Resources under a name that says which driver reserved them, so that `release` finds them."""

    def __init__(self, bundle: dict[str, float], driver: str) -> None:
        super().__init__([bundle])
        self._driver = driver

    def to_placement_group(self) -> PlacementGroup:
        name = f"{self._driver}.{uuid.uuid4().hex}"
        group: PlacementGroup = placement_group(self.bundles, self.strategy, name=name)
        return group


def release(driver: str) -> None:
    """Free what a dead driver had reserved.

    Ray frees an actor's placement groups only when the whole program that made it ends; until
    then a killed driver would keep its CPUs for ever.
    """
    for group in placement_group_table().values():
        if group["name"].startswith(f"{driver}.") and group["state"] != "REMOVED":
            try:
                remove_placement_group(get_placement_group(group["name"]))
            except ValueError:  # It went meanwhile.
                continue


def employ(name: str, jobs: int = 1) -> Any:
    """Start a driver actor; when it is dead, `release(name)` must be called.

    Args:
        name: Any name no other driver has.
        jobs: How many jobs may run on the cluster side by side.
    """
    # Bound by its class here and not by a decorator, which would hide the class.
    actor = ray.remote(JobDriver).options(num_cpus=0, name=_NAMES + name)
    return actor.remote(name, jobs)


class JobDriver:
    """The actor, see `employ`.

    Jobs beside each other share the cluster: a driver counts the drivers that live on it, whoever
    started them, and has no more populations out than its share. What a population reserves is so
    small that all of them fit at once, so no job waits for another to end; the operating system
    shares the cores in the seconds until a new job's neighbours have drawn back.
    """

    def __init__(
        self, name: str, jobs: int = 1, workerless_seconds: float = WORKERLESS_SECONDS
    ) -> None:
        self._name = name
        self._jobs = jobs
        self._workerless_seconds = workerless_seconds
        self._places = 1
        self._allowed = (-math.inf, 1)
        os.environ.update(_ENVIRONMENT)
        # Tune looks for the log files that are off and warns once for each trial.
        logging.getLogger("ray.tune").setLevel(logging.ERROR)

    def _share(self) -> int:
        """Return how many populations this driver may have out now."""
        counted, allowed = self._allowed
        if time.monotonic() - counted >= COUNT_SECONDS:
            own = _NAMES + self._name
            found = {str(actor["name"]) for actor in list_named_actors(all_namespaces=True)}
            names = sorted({own, *(each for each in found if each.startswith(_NAMES))})
            allowed = share(self._places, len(names), names.index(own))
            self._allowed = time.monotonic(), allowed
        return allowed

    def _reserve(self, plan: Plan) -> tuple[_Reserved, int]:
        """Return what one population takes, and how many this job has out where it is alone."""
        units, _ = capacity()
        bundle = {"CPU": slot(self._jobs)}
        self._places, most = units, plan.max_concurrent
        if plan.gpus:
            parts = per_gpu(units, self._jobs)
            bundle["GPU"] = plan.gpus * slot(parts)
            self._places = on_gpus(units, self._jobs)
            most = max(most, most * self._places // units)
        return _Reserved(bundle, self._name), most

    def run(self, build: str, job_json: str, history: Any) -> Iterator[Message]:
        """Run a job to its end; call it with `num_returns="streaming"`.

        Args:
            build: Names the function (job_json, history) -> Plan, see `workers.trainable.resolve`.
            job_json: The job's body.
            history: What has happened so far, as `build` takes it.

        Yields:
            `Asked`, `Told`, `Lost` and `Note` in the order in which they happened.

        Raises:
            RuntimeError: Tune came to its end before the searcher did.
        """
        plan: Plan = resolve(build)(job_json, history)
        if plan.searcher.finished:
            return
        resources, most = self._reserve(plan)
        desk = _DESKS[self._name] = Desk(plan.searcher, self._share)
        arguments = (plan, self._name, resources, most)
        thread = threading.Thread(target=_tune, args=arguments, daemon=True)
        thread.start()
        try:
            while (message := desk.next(self._workerless_seconds)) is not None:
                yield message
        finally:
            del _DESKS[self._name]
        if desk.failure is not None:
            raise desk.failure
        thread.join()
        if not plan.searcher.finished:
            raise RuntimeError("Ray Tune ended before the search did")


def _tune(plan: Plan, key: str, resources: _Reserved, most: int) -> None:
    """Run the Tuner, in its own thread, until the searcher is finished."""
    desk = _DESKS[key]
    _sweep()
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
    try:
        trainable: Any = tune.with_resources(PopulationTrainable, resources)
        # Tune keeps trainables under their names for all drivers alike: with one name, a driver
        # would reserve what another's `_Reserved` says, and die of the other's `release`.
        trainable._name = f"{PopulationTrainable.__name__}-{key}"
        tuner = tune.Tuner(
            trainable,
            param_space={"evaluation": plan.evaluation, "judge": plan.judge},
            tune_config=tune.TuneConfig(
                search_alg=_Recorder(key),
                num_samples=-1,
                max_concurrent_trials=most,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="job",
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[_Witness(key)],
                verbose=0,
            ),
        )
        tuner.fit()
    except BaseException as failure:
        traceback.print_exc()
        desk.failure = desk.failure or failure
    finally:
        _unregister_trainables()  # type: ignore[no-untyped-call]
        shutil.rmtree(scratch, ignore_errors=True)
        desk.messages.put(None)


def _trial_name(trial: Any) -> str:
    """Name a trial by its id alone; Tune's own name would print the whole population."""
    return str(trial.trial_id)


def _sweep() -> None:
    """Remove the scratch folders of drivers that were killed and could not do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        process = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            shutil.rmtree(folder, ignore_errors=True)
