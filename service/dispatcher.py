"""The dispatcher: takes queued jobs, has Ray run them, and writes what happens to the store.

It is crash-only: whatever is killed, the next start finds in SQL what is left to do. Only the
dispatcher writes trials, and the store takes a write only while the claim on the job holds.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from service.cluster import Unreachable, connect, first_line, quieten
from service.drivers import Driver, Drivers
from service.jobs import TuneJob
from service.resources import JobState
from service.settings import Settings
from service.store.errors import LeaseLost, StorageFull, StoreError, Unavailable
from service.store.query import MAX_PAGE_SIZE, Query
from service.store.queue import Claim
from service.store.store import Store
from workers.desk import Asked, Lost, Message, Note, Told

BUILD = "service.assembly:build"
"""Makes a job's plan, in the driver."""

DEATHS = 3
"""How often a driver may die without a result in between and be started again."""

POLL_SECONDS = 0.25
"""How often the queue is looked at, beside when this process queues a job, and how long a run's
messages are waited for."""

QUIET_SECONDS = 1.0
"""How long nothing must run until the next job's driver is seen to."""

BEAT_SECONDS = 1.0
"""How often a run renews its lease and hears whether somebody wants it to stop."""

PATIENCE_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a write is tried again while the database is full or away."""

OUTAGE_SECONDS = 10.0
"""How long until a Ray that could not be reached is tried again."""

_STOPS = {JobState.PAUSING: JobState.PAUSED, JobState.CANCELLING: JobState.CANCELLED}

_FAREWELLS = {
    JobState.PAUSED: "The job is paused; what is done is kept.",
    JobState.QUEUED: "The server stops; the job waits in the queue until it runs again.",
}

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs jobs in the background, `settings.concurrent_jobs` side by side.

    Args:
        store: Where jobs come from and results go to; not closed here.
        settings: Which Ray, how many jobs, how long a lease.
        build: Names the function that makes a job's plan (see `workers.trainable.resolve`).
    """

    def __init__(self, store: Store, settings: Settings, *, build: str = BUILD) -> None:
        self._store = store
        self._settings = settings
        self._owner = owner_name(settings)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._runs: list[threading.Thread] = []
        self._own_ray = False
        self._drivers = Drivers(build, settings.concurrent_jobs, lasting=not settings.ray_address)
        self._outage: set[str] = set()
        """The jobs that were told that Ray cannot be reached; empty while it can."""

    def start(self) -> None:
        """Begin, and first take back the jobs that this dispatcher's last life left running.

        Raises:
            RuntimeError: It is running already.
        """
        if self._thread is not None:
            raise RuntimeError("the dispatcher is running already")
        self._store.expire(self._owner)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Stop the drivers, give their jobs back to the queue, and wait until that is done."""
        self._stopping.set()
        self._store.queued.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _loop(self) -> None:
        # Ray's processes die with the thread that started them (PR_SET_PDEATHSIG), so Ray is
        # started and ended here and not in a job's thread.
        try:
            self._get_ready()
            quiet_since = -QUIET_SECONDS
            while not self._stopping.is_set():
                self._store.queued.clear()
                self._runs = [thread for thread in self._runs if thread.is_alive()]
                claim = self._claim()
                if claim is not None:
                    self._begin_or_drop(claim)
                    continue
                if self._runs:
                    quiet_since = time.monotonic()
                elif time.monotonic() - quiet_since >= QUIET_SECONDS:
                    self._tend()
                self._store.queued.wait(POLL_SECONDS)
        finally:
            for thread in self._runs:
                thread.join()
            if ray.is_initialized():
                self._drivers.close()
            if self._own_ray:
                ray.shutdown()
                self._own_ray = False

    def _get_ready(self) -> None:
        """Start or join Ray before the first job comes; if that fails, its job is told."""
        try:
            self._own_ray |= connect(self._settings)
        except Unreachable as why:
            _log.info("%s", why)

    def _tend(self) -> None:
        if ray.is_initialized():
            try:
                self._drivers.tend()
            except RayError as error:
                _log.info("no driver can be made ready: %s", first_line(error))

    def _claim(self) -> Claim | None:
        if len(self._runs) >= self._settings.concurrent_jobs:
            return None
        try:
            if self._outage and not self._outage_is_over():
                self._stopping.wait(OUTAGE_SECONDS)
                return None
            return self._store.claim(self._owner, self._settings.lease_seconds)
        except (StorageFull, Unavailable) as error:
            _log.warning("cannot look for jobs: %s", error)
            self._stopping.wait(PATIENCE_SECONDS[-1])
            return None

    def _begin_or_drop(self, claim: Claim) -> None:
        try:
            self._begin(claim)
        except StoreError as error:
            # The lease lapses, and the job is taken up again.
            _log.warning("job %s is dropped until its lease lapses: %s", claim.job_id, error)

    def _begin(self, claim: Claim) -> None:
        try:
            self._own_ray |= connect(self._settings)
        except Unreachable as why:
            self._wait_for_cluster(claim, why)
            return
        quieten()
        run = Run(self._store, claim, self._settings, self._drivers, self._stopping)
        thread = threading.Thread(target=run.to_end, name=f"job {claim.job_id}", daemon=True)
        self._runs.append(thread)
        thread.start()

    def _wait_for_cluster(self, claim: Claim, why: Unreachable) -> None:
        """Give the claimed job back, and tell it and all that wait why none can run."""
        if not self._outage:
            _log.warning("%s; jobs wait, and it is tried again every %g s", why, OUTAGE_SECONDS)
        sentence = f"{_capital(str(why))}; the job waits, and it is tried again."
        claims = [claim]
        # Held until all are told, or the first would be claimed again and again.
        while (another := self._store.claim(self._owner, self._settings.lease_seconds)) is not None:
            claims.append(another)
        for each in claims:
            if each.job_id not in self._outage:
                self._store.log(each, sentence)
                self._outage.add(each.job_id)
            self._store.finish(each, JobState.QUEUED)
        self._stopping.wait(OUTAGE_SECONDS)

    def _outage_is_over(self) -> bool:
        """Try Ray again; as long as it is away, only a job that was not told yet is claimed."""
        try:
            self._own_ray |= connect(self._settings)
        except Unreachable:
            query = Query(page_size=MAX_PAGE_SIZE, filter="state = QUEUED", order_by="created desc")
            return any(job.id not in self._outage for job in self._store.jobs(query).items)
        _log.warning("Ray answers again; the jobs go on")
        self._outage.clear()
        return True


class Run:
    """One claimed job on its way: a driver, its messages, the lease."""

    def __init__(
        self,
        store: Store,
        claim: Claim,
        settings: Settings,
        drivers: Drivers,
        stopping: threading.Event,
    ) -> None:
        self._store = store
        self._claim = claim
        self._lease_seconds = settings.lease_seconds
        self._drivers = drivers
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
            state, error = self._attempts()
            if state in _FAREWELLS:
                self._note(_FAREWELLS[state])
            self._patiently(lambda: self._store.finish(self._claim, state, error))
        except LeaseLost:
            _log.warning(
                "job %s stops here: it was ended, or another dispatcher has taken it", job_id
            )
        except Exception:
            # The lease lapses, and the job is taken up again, by this dispatcher or another.
            _log.exception("job %s is dropped until its lease lapses", job_id)

    def _attempts(self) -> tuple[JobState, str | None]:
        """Start a driver, and another when one dies, until one comes to an end."""
        while True:
            driver = self._drivers.take()
            leave = self._drivers.dismiss
            try:
                state = self._follow(self._start(driver))
                if state is JobState.SUCCEEDED:
                    leave = self._drivers.give_back
                return state, None
            except RayTaskError as error:
                # The search itself raised; it would again.
                _log.error("job %s has failed: %s", self._claim.job_id, error)
                return JobState.FAILED, _sentence(error.cause)
            except RayError as error:
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
                leave(driver)

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
            LeaseLost: The job is somebody else's now.
        """
        while True:
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


def owner_name(settings: Settings) -> str:
    """Return the name under which a dispatcher claims jobs, the same after a restart.

    One process alone owns the embedded SQLite file, so there is one name for it; beside others
    on a shared database a dispatcher is known by its host and process.
    """
    if settings.store_url().startswith("sqlite"):
        return "embedded"
    return f"{socket.gethostname()}:{os.getpid()}"


def _sentence(error: BaseException) -> str:
    """Return an error's kind and first lines, short enough for a page."""
    return f"{type(error).__name__}: {error}"[:2000]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
