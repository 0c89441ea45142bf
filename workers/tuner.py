"""Ray Tune as a job's driver uses it: one Tuner, whose trials are populations.

The Tuner goes on from job to job. Its searcher hands on what the job's searcher proposes; where
that has nothing to propose, it proposes Tune trials without a population, which keep their workers
(see `workers.crew`). It never comes to an end: whoever ends the driver ends it.
"""

import os
import shutil
import tempfile
import traceback
import uuid
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util.placement_group import PlacementGroup, placement_group

from dsl.candidate import Proposal
from dsl.outcome import Outcome
from workers.crew import CREWS, Crew
from workers.desk import Asked, Desk, Lost, Note, Told
from workers.trainable import PopulationTrainable

RETRIES = 3
"""How often Tune starts a population anew whose worker process died."""

SCRATCH = "rulesmith-driver-"
"""How the names of the folders begin that Tune wants to have."""

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""How Tune is told, in the driver's process, to write no log files and no snapshots."""


class Recorder(Searcher):
    """Stand between Tune and the searcher of the crew's job, and stream what passes.

    It holds only its crew's key, so a copy of it works at the same desk.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the config of a population, or of a worker that waits, or None."""
        crew = CREWS[self._key]
        desk = crew.next_desk()
        if desk is not None and crew.has_place(desk):
            config = self._population(crew, desk, trial_id)
            if config is not None:
                return config
        return {"population": []} if crew.hire(trial_id) else None

    def _population(self, crew: Crew, desk: Desk, trial_id: str) -> dict[str, Any] | None:
        with desk.noting_failure():
            desk.hand_on_points()
            config = desk.source.suggest(trial_id)
            known, waiting = desk.source.taken_over(), desk.source.waiting()
        if waiting:
            desk.messages.put(Asked(proposals=tuple(waiting)))
        if known:
            proposals, outcomes = zip(*known, strict=True)
            desk.messages.put(Asked(proposals=proposals))
            desk.messages.put(Told(outcomes=outcomes, snapshot=desk.source.snapshot()))
        if not isinstance(config, dict):
            if desk.source.finished:
                crew.end(desk)
            return None
        proposals = tuple(Proposal.model_validate(entry) for entry in config["population"])
        desk.out[trial_id] = tuple(proposal.number for proposal in proposals)
        desk.waiting.add(trial_id)
        desk.messages.put(Asked(proposals=proposals))
        crew.trials += 1
        if crew.first_ready() is not None:
            crew.handing = trial_id
        return config | desk.config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the searcher what came of a population, and stream it."""
        crew = CREWS[self._key]
        desk = crew.desk
        if crew.strike(trial_id) or desk is None:
            return
        numbers = desk.out.pop(trial_id, ())
        desk.worked(trial_id)
        with desk.noting_failure():
            desk.source.on_trial_complete(trial_id, result=result, error=error)
        answered = [] if error or result is None else result["outcomes"]
        outcomes = tuple(Outcome.model_validate(entry) for entry in answered)
        if outcomes:
            equal = tuple(outcome for _, outcome in desk.source.taken_over())
            told = Told(outcomes=(*outcomes, *equal), snapshot=desk.source.snapshot())
            desk.messages.put(told)
        missing = set(numbers) - {outcome.number for outcome in outcomes}
        reasons = {} if result is None else {e["number"]: e["error"] for e in result["lost"]}
        died = f"the worker process died {RETRIES + 1} times while it trained this population"
        by_reason: dict[str, list[int]] = {}
        for number in sorted(missing):
            by_reason.setdefault(reasons.get(number, died), []).append(number)
        for reason, some in by_reason.items():
            desk.messages.put(Lost(numbers=tuple(some), error=reason))
        if desk.source.finished:
            crew.end(desk)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note that a worker waits; the one result of a population is also its last."""
        crew = CREWS[self._key]
        if crew.hired(trial_id):
            crew.ready(trial_id, result["resident"])

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: SQL is the only truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a job is rebuilt from SQL."""


class Foreman(FIFOScheduler):
    """Leave a worker without a population in peace, and hand its place to the next population."""

    def __init__(self, key: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._key = key

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let no further step follow where a worker waits, or the job's schedule says so."""
        if result.get("waits"):
            return TrialScheduler.NOOP
        desk = CREWS[self._key].desk
        if desk is None or desk.schedule is None:
            return TrialScheduler.CONTINUE
        with desk.noting_failure():
            return desk.schedule.decide(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Tell the job's schedule of a population's end."""
        desk = CREWS[self._key].desk
        if desk is not None and desk.schedule is not None:
            desk.schedule.ended(tune_controller, trial, result)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the population that goes to a free worker, or takes the place of one that waits.

        Other trials are left to Tune.
        """
        crew = CREWS[self._key]
        if crew.handing is None:
            return None
        live = {trial.trial_id: trial for trial in tune_controller.get_live_trials()}
        population, crew.handing = live[crew.handing], None
        before = crew.first_ready()
        # Tune keeps one worker at most that no trial wants: a second one would be ended.
        if before is not None and not _has_free_worker(tune_controller):
            tune_controller.stop_trial(live[before])
        return population


def _has_free_worker(tune_controller: Any) -> bool:
    """Return whether a worker whose trial has ended is there for the next trial to start.

    Tune has no public word for it.
    """
    return bool(tune_controller._actor_cache.num_cached_objects)


class Witness(Callback):
    """See what Tune does with its trials, and empty those that are done: Tune keeps them all."""

    def __init__(self, key: str) -> None:
        self._key = key

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that a population has its worker."""
        desk = CREWS[self._key].desk
        if desk is not None and trial.trial_id in desk.out:
            desk.worked(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say that a population's worker died."""
        desk = CREWS[self._key].desk
        if desk is None or trial.trial_id not in desk.out:
            return
        count = len(desk.out[trial.trial_id])
        desk.waiting.add(trial.trial_id)
        what = "its trial is" if count == 1 else f"the {count} trials it trained are"
        desk.messages.put(Note(sentence=f"{_failure(trial)}; {what} started again."))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Empty a trial that is done."""
        trial.config.clear()
        # The config again, as suggested, and as text.
        trial.evaluated_params.clear()
        trial.experiment_tag = ""
        trial.last_result.clear()


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


class Reserved(tune.PlacementGroupFactory):
    """Resources under a name that says which driver reserved them, so that it can free them."""

    def __init__(self, bundle: dict[str, float], driver: str) -> None:
        super().__init__([bundle])
        self._driver = driver

    def to_placement_group(self) -> PlacementGroup:
        """Reserve, under the driver's name."""
        name = f"{self._driver}.{uuid.uuid4().hex}"
        group: PlacementGroup = placement_group(self.bundles, self.strategy, name=name)
        return group


def run(key: str, resources: Reserved) -> None:
    """Run the Tuner of a crew, in a thread of its own, as long as the process lives."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
    try:
        trainable: Any = tune.with_resources(PopulationTrainable, resources)
        # Tune keeps trainables under their names for all drivers alike: with one name, a driver
        # would reserve what another's `Reserved` says, and die of the other's release.
        trainable._name = f"{PopulationTrainable.__name__}-{key}"
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=Recorder(key),
                scheduler=Foreman(key),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="job",
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Witness(key)],
                verbose=0,
            ),
        )
        tuner.fit()
    except BaseException as failure:
        traceback.print_exc()
        desk = CREWS[key].desk
        if desk is not None:
            desk.failure = desk.failure or failure
            desk.messages.put(None)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    """Name a trial by its id alone; Tune's own name would print the whole population."""
    return str(trial.trial_id)


def sweep() -> None:
    """Remove the scratch folders of drivers that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        process = folder.name.removeprefix(SCRATCH).partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            shutil.rmtree(folder, ignore_errors=True)
