"""The driver of a job: a Ray actor that runs a Tuner and streams what happens.

The driver has no database: whoever reads the stream writes. It may be killed at any moment; what
was not streamed is then asked again from the history in SQL.
"""

import logging
import os
import queue
import shutil
import tempfile
import threading
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune import Callback
from ray.tune.search import Searcher
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from dsl.candidate import Proposal
from dsl.outcome import Outcome
from dsl.schema import Frozen
from workers.trainable import JUDGE, PopulationTrainable, resolve

RETRIES = 3
"""How often Tune starts a population anew whose worker process died."""

_SCRATCH = "rulesmith-driver-"

_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""How Tune is told, in the driver's process, to write no log files and no snapshots."""


class Asked(Frozen):
    """These proposals go to a worker now."""

    proposals: tuple[Proposal, ...]


class Told(Frozen):
    """These outcomes were told to the searcher, whose state afterwards is `snapshot`."""

    outcomes: tuple[Outcome, ...]
    snapshot: bytes | None


class Lost(Frozen):
    """These proposals brought no outcome, through no fault of theirs."""

    numbers: tuple[int, ...]
    error: str


Message = Asked | Told | Lost


class PopulationSource(Protocol):
    """The part of a Tune Searcher that the driver uses, and its state (`PopulationSearcher`)."""

    @property
    def finished(self) -> bool:
        """Whether all is asked and answered."""

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return {"population": [...]}, FINISHED or None."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take a population's outcomes."""

    def snapshot(self) -> bytes | None:
        """Return the state to keep."""


@dataclass(frozen=True)
class Plan:
    """How a job runs: what `build(job_json, history)` returns, in the driver."""

    searcher: PopulationSource
    evaluation: dict[str, Any]
    """An `Evaluation` as JSON."""

    max_concurrent: int
    """Populations that are trained, or wait for a CPU, at the same time."""

    cpus: float = 1.0
    gpus: float = 0.0
    """What one population reserves."""

    judge: str = JUDGE


def capacity() -> tuple[int, float]:
    """Return how many populations the cluster trains at once, and the GPUs each takes.

    On a cluster with GPUs a population takes one; else it takes a CPU.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0))
    return (gpus, 1.0) if gpus else (max(1, int(resources.get("CPU", 1))), 0.0)


class _Desk:
    """What a running search works with; never pickled."""

    def __init__(self, source: PopulationSource) -> None:
        self.source = source
        self.messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.out: dict[str, tuple[int, ...]] = {}
        self.failure: BaseException | None = None

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Keep the first thing the search raises: Tune wraps it, and may even go on."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except Exception as failure:
            self.failure = failure
            self.messages.put(None)  # The end of the stream, whatever Tune does next.
            raise


_DESKS: dict[str, _Desk] = {}
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
            config = desk.source.suggest(trial_id)
        if isinstance(config, dict):
            proposals = tuple(Proposal.model_validate(entry) for entry in config["population"])
            desk.out[trial_id] = tuple(proposal.number for proposal in proposals)
            desk.messages.put(Asked(proposals=proposals))
        return config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        desk = _DESKS[self._key]
        numbers = desk.out.pop(trial_id, ())
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


class _Forget(Callback):
    """Empty what a done trial holds: Tune keeps its trials for the life of the experiment."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.config["population"].clear()
        trial.last_result["outcomes"].clear()


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


class JobDriver:
    """The actor. Make it with `ray.remote(JobDriver).options(num_cpus=0).remote(name)`.

    Args:
        name: Any name no other driver has. When the actor is dead, `release(name)` must be called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        os.environ.update(_ENVIRONMENT)
        # Tune looks for the log files that are off and warns once for each trial.
        logging.getLogger("ray.tune").setLevel(logging.ERROR)

    def run(self, build: str, job_json: str, history: Any) -> Iterator[Message]:
        """Run a job to its end; call it with `num_returns="streaming"`.

        Args:
            build: Names the function (job_json, history) -> Plan, see `workers.trainable.resolve`.
            job_json: The job's body.
            history: What has happened so far, as `build` takes it.

        Yields:
            `Asked`, `Told` and `Lost` in the order in which they happened.

        Raises:
            RuntimeError: Tune came to its end before the searcher did.
        """
        plan: Plan = resolve(build)(job_json, history)
        if plan.searcher.finished:
            return
        desk = _DESKS[self._name] = _Desk(plan.searcher)
        thread = threading.Thread(target=_tune, args=(plan, self._name), daemon=True)
        thread.start()
        try:
            while (message := desk.messages.get()) is not None:
                yield message
        finally:
            del _DESKS[self._name]
        if desk.failure is not None:
            raise desk.failure
        thread.join()
        if not plan.searcher.finished:
            raise RuntimeError("Ray Tune ended before the search did")


def _tune(plan: Plan, key: str) -> None:
    """Run the Tuner, in its own thread, until the searcher is finished."""
    desk = _DESKS[key]
    _sweep()
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
    try:
        resources = _Reserved({"CPU": plan.cpus, "GPU": plan.gpus}, key)
        tuner = tune.Tuner(
            tune.with_resources(PopulationTrainable, resources),
            param_space={"evaluation": plan.evaluation, "judge": plan.judge},
            tune_config=tune.TuneConfig(
                search_alg=_Recorder(key),
                num_samples=-1,
                max_concurrent_trials=plan.max_concurrent,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="job",
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[_Forget()],
                verbose=0,
            ),
        )
        tuner.fit()
    except BaseException as failure:
        traceback.print_exc()
        desk.failure = desk.failure or failure
    finally:
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
