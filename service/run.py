"""One claimed job on its way: a driver, its messages, the lease."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from dsl.candidate import Stage
from dsl.outcome import TrialState
from service.cluster import Cluster, ClusterLost, first_line
from service.drivers import Driver, Drivers
from service.jobs import TuneJob
from service.resources import JobState
from service.settings import Settings
from service.store.errors import LeaseLost, StorageFull, Unavailable
from service.store.query import Query
from service.store.queue import Claim
from service.store.store import Store
from workers.desk import Asked, Lost, Message, Note, Told

DEATHS = 3
"""How often a driver may die without a result in between and be started again."""

POLL_SECONDS = 0.25
"""How long a run's messages are waited for."""

BEAT_SECONDS = 1.0
"""How often a run renews its lease and hears whether somebody wants it to stop."""

BLAME_SECONDS = 0.5
"""How long, once a driver has failed, the cluster is watched before the driver is blamed."""

PATIENCE_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a write is tried again while the database is full or away."""

_STOPS = {JobState.PAUSING: JobState.PAUSED, JobState.CANCELLING: JobState.CANCELLED}

_FAREWELLS = {
    JobState.PAUSED: "The job is paused; what is done is kept.",
    JobState.QUEUED: "The server stops; the job waits in the queue until it runs again.",
}

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Run:
    """One claimed job on its way: a driver, its messages, the lease."""

    def __init__(
        self,
        store: Store,
        claim: Claim,
        settings: Settings,
        drivers: Drivers,
        cluster: Cluster,
        stopping: threading.Event,
    ) -> None:
        self._store = store
        self._claim = claim
        self._lease_seconds = settings.lease_seconds
        self._drivers = drivers
        self._cluster = cluster
        self._stopping = stopping
        self._deaths = 0
        self._driver_count = 0
        self._driver: Driver | None = None
        self._points = 0
        """How many points the driver knows."""

        self._renewed = time.monotonic()

    def to_end(self) -> None:
        """Run the job until it is done, stopped or lost; never raises."""
        job_id = self._claim.job_id
        try:
            state, error, farewell = self._ending()
            if farewell is not None:
                self._note(farewell)
            self._patiently(lambda: self._store.finish(self._claim, state, error))
        except LeaseLost:
            _log.warning(
                "job %s stops here: it was ended, or another dispatcher has taken it", job_id
            )
        except Exception:
            # The lease lapses, and the job is taken up again, by this dispatcher or another.
            _log.exception("job %s is dropped until its lease lapses", job_id)

    def _ending(self) -> tuple[JobState, str | None, str | None]:
        """Run the job; return the state it ends in, its error, and what is told of it."""
        try:
            state, error = self._attempts()
        except ClusterLost as lost:
            return JobState.QUEUED, None, f"{lost}; the job waits, and goes on when Ray runs again."
        if state is JobState.SUCCEEDED and (error := self._all_failed()):
            state = JobState.FAILED
        return state, error, self._early() if state is JobState.SUCCEEDED else _FAREWELLS.get(state)

    def _all_failed(self) -> str | None:
        """Say why every trial failed, through no fault of its own; None if one did not."""
        job = self._patiently(lambda: self._store.job(self._claim.job_id))
        failed = job.trials.get(TrialState.FAILED, 0)
        if not failed or failed < sum(job.trials.values()):
            return None
        query = Query(page_size=1, filter=f"state = {TrialState.FAILED}", order_by="number")
        (first,) = self._patiently(lambda: self._store.trials(job.id, query)).items
        return f"all {failed} trials failed; trial {first.number}: {first.reason}"

    def _early(self) -> str | None:
        """Say that a search ended before its budget was spent, if it did."""
        job = self._patiently(lambda: self._store.job(self._claim.job_id))
        query = Query(page_size=1, filter=f"stage = {Stage.SEARCH}", order_by="number desc")
        last = self._patiently(lambda: self._store.trials(job.id, query)).items
        count = last[0].number + 1 if last else 0
        if count >= job.budget:
            return None
        what = "points" if isinstance(job.spec, TuneJob) else "rules"
        return f"The search ends after {count} of {job.budget} {what}: it finds no other ones."

    def _attempts(self) -> tuple[JobState, str | None]:
        """Start a driver, and another when one dies, until one comes to an end.

        Raises:
            ClusterLost: Ray has died, and the driver of it.
        """
        while True:
            self._blame_cluster()
            driver = self._drivers.take()
            leave = self._drivers.dismiss
            try:
                state = self._follow(self._start(driver))
                if state is JobState.SUCCEEDED:
                    leave = self._drivers.give_back
                return state, None
            except RayError as error:
                self._blame_cluster(BLAME_SECONDS)
                if isinstance(error, RayTaskError):
                    # The search itself raised; it would again.
                    _log.error("job %s has failed: %s", self._claim.job_id, error)
                    return JobState.FAILED, _sentence(error.cause)
                self._deaths += 1
                reason = first_line(error)
                if self._deaths > DEATHS:
                    again = f"its driver died {self._deaths} times without a result in between"
                    return JobState.FAILED, f"{again}; the last time: {reason}"
                self._note(
                    f"The job's driver died and is started again ({self._deaths} of {DEATHS}): "
                    f"{reason}",
                    logging.WARNING,
                )
            finally:
                # A Ray that is dead cannot end a driver: to ask it to would wait for ever.
                if self._cluster.fault() is None:
                    leave(driver)

    def _blame_cluster(self, seconds: float = 0.0) -> None:
        """Raise ClusterLost if Ray has died, or does in so many seconds.

        What dies of Ray's death may die a little before it.
        """
        end = time.monotonic() + seconds
        while True:
            self._cluster.check()
            certain = time.monotonic() >= end and not self._cluster.doubtful
            if certain or self._stopping.wait(BLAME_SECONDS / 10):
                return

    def _start(self, driver: Driver) -> Any:
        history = self._patiently(lambda: self._store.history(self._claim.job_id))
        if history.trials and self._driver_count == 0:
            done = sum(outcome is not None for _, outcome in history.trials)
            again = len(history.trials) - done
            self._note(f"The job goes on: {done} trials are done, {again} are started again.")
        self._driver_count += 1
        self._driver = driver
        # Not the claim's: points may have been added since.
        spec = self._patiently(lambda: self._store.job(self._claim.job_id)).spec
        self._points = len(spec.enqueue) if isinstance(spec, TuneJob) else 0
        run = driver.actor.run.options(num_returns="streaming")
        job_id = self._claim.job_id
        past = (history.trials, history.snapshot, history.known, job_id)
        return run.remote(self._drivers.build, spec.model_dump_json(), past, job_id)

    def _hand_on_points(self) -> None:
        """Tell the driver of points that were added while it runs."""
        points = self._patiently(lambda: self._store.points(self._claim.job_id))
        if len(points) > self._points and self._driver is not None:
            self._driver.actor.enqueue.remote(points, self._claim.job_id)
            self._points = len(points)

    def _follow(self, stream: Any) -> JobState:
        """Write a driver's messages until it ends or somebody wants the job to stop.

        Raises:
            RayError: The driver died.
            ClusterLost: Ray died; what has arrived is left, for Ray kills who reads from it then.
            LeaseLost: The job is somebody else's now.
        """
        while True:
            self._cluster.check()
            stop = self._beat()
            if stop is not None:
                # What has arrived is kept, so that it need not be run again.
                ended = self._drain(stream)
                return JobState.SUCCEEDED if ended and stop is JobState.QUEUED else stop
            ready, _ = ray.wait([stream], timeout=POLL_SECONDS)
            if ready and not self._take(stream):
                return JobState.SUCCEEDED

    def _drain(self, stream: Any) -> bool:
        """Write what has arrived, for a second at most; say whether that was the end."""
        end = time.monotonic() + BEAT_SECONDS
        while time.monotonic() < end and ray.wait([stream], timeout=0)[0]:
            try:
                if not self._take(stream):
                    return True
            except RayError:
                return False
        return False

    def _take(self, stream: Any) -> bool:
        """Write the next message; return False at the end of the stream."""
        try:
            message: Message = ray.get(next(stream))
        except StopIteration:
            return False
        self._patiently(lambda: self._write(message))
        return True

    def _write(self, message: Message) -> None:
        match message:
            case Asked(proposals=proposals):
                self._store.record_asked(self._claim, proposals)
            case Told(outcomes=outcomes, snapshot=snapshot):
                self._store.record_told(self._claim, outcomes, snapshot)
                self._deaths = 0
            case Lost(numbers=numbers, error=error):
                self._store.record_lost(self._claim, numbers, error)
            case Note(sentence=sentence):
                self._store.log(self._claim, sentence)
                _log.warning("job %s: %s", self._claim.job_id, sentence)

    def _note(self, sentence: str, level: int = logging.INFO) -> None:
        """Tell something in the job's events, and in the log."""
        self._patiently(lambda: self._store.log(self._claim, sentence))
        _log.log(level, "job %s: %s", self._claim.job_id, sentence)

    def _beat(self) -> JobState | None:
        """Renew the lease when it is time; return the state to stop in, if there is one."""
        if self._stopping.is_set():
            return JobState.QUEUED
        if time.monotonic() - self._renewed < BEAT_SECONDS:
            return None
        state = self._patiently(lambda: self._store.renew(self._claim, self._lease_seconds))
        self._renewed = time.monotonic()
        self._hand_on_points()
        return _STOPS.get(state)

    def _patiently(self, act: Callable[[], T]) -> T:
        """Do something in the store, again and again while the database is full or away."""
        for pause in PATIENCE_SECONDS:
            try:
                return act()
            except (StorageFull, Unavailable) as error:
                _log.warning("job %s waits for the database: %s", self._claim.job_id, error)
                if self._stopping.wait(pause):
                    break
        return act()


def _sentence(error: BaseException) -> str:
    """Return an error's kind and first lines, short enough for a page."""
    return f"{type(error).__name__}: {error}"[:2000]
