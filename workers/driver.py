"""The driver of a job: a Ray actor that runs a Tuner and streams what happens.

The driver has no database: whoever reads the stream writes. It may be killed at any moment; what
was not streamed is then asked again from the history in SQL.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_list,
    _internal_kv_put,
)
from ray.util import list_named_actors
from ray.util.placement_group import (
    get_placement_group,
    placement_group_table,
    remove_placement_group,
)

from workers import tuner
from workers.crew import CREWS, Crew
from workers.desk import Desk, Message, Point, PopulationSource
from workers.memory import resident
from workers.schedules import schedule_of
from workers.sharing import on_gpus, per_gpu, share, slot
from workers.trainable import JUDGE, resolve

WORKERLESS_SECONDS = 60.0
"""How long a job may be without any worker before it says so."""

COUNT_SECONDS = 1.0
"""How often a driver looks how many others run beside it."""

_NAMES = "rulesmith.driver."
"""How the names of driver actors begin, by which drivers find each other on a cluster."""

IDLE_WORKERS = 4
"""How many workers wait between jobs at most: each is a process with torch in its memory."""

IDLE_BYTES = 1 << 30
"""Memory of the largest process of a driver and its workers that may wait for another job."""

IDLE_TRIALS = 5000
"""Tune trials after which a driver takes no further job: Tune keeps a record of each."""


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


def release(driver: str) -> None:
    """Free what a dead driver had reserved, and forget that it ran a job.

    Ray frees an actor's placement groups only when the whole program that made it ends; until
    then a killed driver would keep its CPUs for ever.
    """
    _internal_kv_del(_NAMES + driver)
    for group in placement_group_table().values():
        if group["name"].startswith(f"{driver}.") and group["state"] != "REMOVED":
            try:
                remove_placement_group(get_placement_group(group["name"]))
            except ValueError:  # It went meanwhile.
                continue


def employ(
    name: str,
    jobs: int = 1,
    *,
    lasting: bool = False,
    workerless_seconds: float = WORKERLESS_SECONDS,
) -> Any:
    """Start a driver actor; when it is dead, `release(name)` must be called.

    Args:
        name: Any name no other driver has.
        jobs: How many jobs may run on the cluster side by side.
        lasting: Whether it may be given one job after the other; its workers then wait between
            them, and hold the CPUs that they reserved.
        workerless_seconds: How long a job may be without any worker before it says so.
    """
    # Bound by its class here and not by a decorator, which would hide the class.
    # A group of its own for points, which come while `run` goes on.
    declare: Any = ray.remote  # Its annotations know functions alone.
    actor = declare(num_cpus=0, concurrency_groups={"points": 1})(JobDriver)
    return actor.options(name=_NAMES + name).remote(name, jobs, lasting, workerless_seconds)


def lives(driver: str) -> bool:
    """Return whether a driver's process still runs."""
    return _NAMES + driver in _living()


def _living() -> set[str]:
    return {str(actor["name"]) for actor in list_named_actors(all_namespaces=True)}


class JobDriver:
    """The actor, see `employ`. It runs one job at a time, and each to its end.

    Jobs beside each other share the cluster: a driver counts the drivers that run one, whoever
    started them, and has no more populations out than its share. What a population reserves is so
    small that all of them fit at once, so no job waits for another to end; the operating system
    shares the cores in the seconds until a new job's neighbours have drawn back.
    """

    def __init__(
        self,
        name: str,
        jobs: int = 1,
        lasting: bool = False,
        workerless_seconds: float = WORKERLESS_SECONDS,
    ) -> None:
        self._name = name
        self._jobs = jobs
        self._lasting = lasting
        self._workerless_seconds = workerless_seconds
        self._places = self._most = 1
        self._allowed = (-math.inf, 1)
        self._crew = CREWS[name] = Crew()
        self._job = ""
        self._points: tuple[str, Sequence[Point]] = "", ()
        self._tuner: threading.Thread | None = None
        os.environ.update(tuner.ENVIRONMENT)
        # Tune looks for the log files that are off and warns once for each trial.
        logging.getLogger("ray.tune").setLevel(logging.ERROR)

    def prepare(self, build: str) -> None:
        """Start the workers of a lasting driver and import what jobs need, before one comes.

        Where populations take GPUs nothing is started: a worker that waits would keep memory there.
        """
        units, gpus = capacity()
        if self._lasting and not gpus:
            self._start({"CPU": slot(self._jobs)}, units)
        resolve(build)

    def fit(self) -> bool:
        """Return whether this driver, between jobs, may wait for another one."""
        running = self._tuner is not None and self._tuner.is_alive()
        crew = self._crew
        small = max(resident(), crew.resident) <= IDLE_BYTES
        return running and crew.size > 0 and crew.trials < IDLE_TRIALS and small

    @ray.method(concurrency_group="points")
    def enqueue(self, points: Sequence[Point], job: str = "") -> None:
        """Have a job that runs, or is about to, try these points next."""
        self._points = job, points
        desk = self._crew.desk
        if desk is not None and job == self._job:
            desk.points.put(points)

    def _share(self) -> int:
        """Return how many populations this driver may have out now."""
        counted, allowed = self._allowed
        if time.monotonic() - counted >= COUNT_SECONDS:
            own = _NAMES + self._name
            at_work = {key.decode() for key in _internal_kv_list(_NAMES)}
            names = sorted({own, *(at_work & _living())})
            allowed = share(self._places, len(names), names.index(own))
            self._allowed = time.monotonic(), allowed
        return min(allowed, self._most)

    def _reserve(self, plan: Plan) -> dict[str, float]:
        """Return what one population takes, and note how many this job may have out."""
        units, _ = capacity()
        bundle = {"CPU": slot(self._jobs)}
        self._places, self._most = units, plan.max_concurrent
        if plan.gpus:
            parts = per_gpu(units, self._jobs)
            bundle["GPU"] = plan.gpus * slot(parts)
            self._places = on_gpus(units, self._jobs)
            self._most = max(self._most, self._most * self._places // units)
        return bundle

    def _start(self, bundle: dict[str, float], places: int) -> None:
        """Start the Tuner, once, whose every population takes `bundle`."""
        if self._tuner is None:
            if self._lasting and "GPU" not in bundle:
                self._crew.size = min(places, IDLE_WORKERS)
            tuner.sweep()
            os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(places)
            arguments = (self._name, tuner.Reserved(bundle, self._name))
            self._tuner = threading.Thread(target=tuner.run, args=arguments, daemon=True)
            self._tuner.start()

    def run(self, build: str, job_json: str, history: Any, job: str = "") -> Iterator[Message]:
        """Run a job to its end; call it with `num_returns="streaming"`.

        Args:
            build: Names the function (job_json, history) -> Plan, see `workers.trainable.resolve`.
            job_json: The job's body.
            history: What has happened so far, as `build` takes it.
            job: Its name, by which `enqueue` knows it.

        Yields:
            `Asked`, `Told`, `Lost` and `Note` in the order in which they happened.

        Raises:
            RuntimeError: Tune came to its end before the searcher did.
        """
        plan: Plan = resolve(build)(job_json, history)
        if plan.searcher.finished:
            return
        _internal_kv_put(_NAMES + self._name, b"")
        bundle = self._reserve(plan)
        config = {"evaluation": plan.evaluation, "judge": plan.judge}
        desk = Desk(plan.searcher, self._share, config, schedule_of(plan.evaluation))
        self._job = job
        self._crew.begin(desk)
        came_before = self._points
        if came_before[0] == job:
            desk.points.put(came_before[1])
        self._start(bundle, self._places)
        while (message := desk.next(self._workerless_seconds)) is not None:
            yield message
        _internal_kv_del(_NAMES + self._name)
        if desk.failure is not None:
            raise desk.failure
        if not plan.searcher.finished:
            raise RuntimeError("Ray Tune ended before the search did")
