"""The dispatcher: takes queued jobs, has Ray run them, and writes what happens to the store.

It is crash-only: whatever is killed, the next start finds in SQL what is left to do. Only the
dispatcher writes trials, and the store takes a write only while the claim on the job holds.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from service.resources import JobState
from service.settings import Settings
from service.store.errors import LeaseLost, StorageFull, Unavailable
from service.store.queue import Claim
from service.store.store import Store
from workers.driver import Asked, JobDriver, Lost, Message, Told, release

BUILD = "service.assembly:build"
"""Makes a job's plan, in the driver."""

DEATHS = 3
"""How often a driver may die without a result in between and be started again."""

POLL_SECONDS = 0.25
"""How often the queue is looked at, and a run's messages are waited for."""

BEAT_SECONDS = 1.0
"""How often a run renews its lease and hears whether somebody wants it to stop."""

PATIENCE_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a write is tried again while the database is full or away."""

OBJECT_STORE_BYTES = 256 * 2**20
"""Of the local Ray: messages are small, so its default of 30 % of the memory is not needed."""

_STOPS = {JobState.PAUSING: JobState.PAUSED, JobState.CANCELLING: JobState.CANCELLED}

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
        self._build = build
        self._owner = owner_name(settings)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._runs: list[threading.Thread] = []
        self._own_ray = False

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
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _loop(self) -> None:
        # Ray's processes die with the thread that started them (PR_SET_PDEATHSIG), so Ray is
        # started and ended here and not in a job's thread.
        try:
            while not self._stopping.is_set():
                self._runs = [thread for thread in self._runs if thread.is_alive()]
                claim = self._claim()
                if claim is None:
                    self._stopping.wait(POLL_SECONDS)
                else:
                    self._begin(claim)
        finally:
            for thread in self._runs:
                thread.join()
            if self._own_ray:
                ray.shutdown()
                self._own_ray = False

    def _claim(self) -> Claim | None:
        if len(self._runs) >= self._settings.concurrent_jobs:
            return None
        try:
            return self._store.claim(self._owner, self._settings.lease_seconds)
        except (StorageFull, Unavailable) as error:
            _log.warning("cannot look for jobs: %s", error)
            self._stopping.wait(PATIENCE_SECONDS[-1])
            return None

    def _begin(self, claim: Claim) -> None:
        try:
            self._connect()
        except Exception:
            _log.exception("Ray does not start; job %s goes back to the queue", claim.job_id)
            self._store.finish(claim, JobState.QUEUED)
            self._stopping.wait(PATIENCE_SECONDS[-1])
            return
        run = Run(self._store, claim, self._settings.lease_seconds, self._build, self._stopping)
        thread = threading.Thread(target=run.to_end, name=f"job {claim.job_id}", daemon=True)
        self._runs.append(thread)
        thread.start()

    def _connect(self) -> None:
        """Attach to the cluster of the settings, or start a local one, unless Ray runs already."""
        if ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._settings.ray_address:
            options["address"] = self._settings.ray_address
        else:
            options |= {
                "address": "local",
                "num_cpus": self._settings.cpus,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_node_ip_address": "127.0.0.1",
            }
        with _environment():
            ray.init(**options)
        self._own_ray = True


class Run:
    """One claimed job on its way: a driver, its messages, the lease."""

    def __init__(
        self,
        store: Store,
        claim: Claim,
        lease_seconds: float,
        build: str,
        stopping: threading.Event,
    ) -> None:
        self._store = store
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._build = build
        self._stopping = stopping
        self._deaths = 0
        self._renewed = time.monotonic()

    def to_end(self) -> None:
        """Run the job until it is done, stopped or lost; never raises."""
        job_id = self._claim.job_id
        try:
            state, error = self._attempts()
            self._patiently(lambda: self._store.finish(self._claim, state, error))
        except LeaseLost as error:
            _log.warning("%s", error)
        except Exception:
            # The lease lapses, and the job is taken up again, by this dispatcher or another.
            _log.exception("job %s is dropped until its lease lapses", job_id)

    def _attempts(self) -> tuple[JobState, str | None]:
        """Start a driver, and another when one dies, until one comes to an end."""
        while True:
            # Bound by its class here and not by a decorator, which would hide the class.
            name = f"{self._claim.job_id}-{uuid.uuid4().hex}"
            driver: Any = ray.remote(JobDriver).options(num_cpus=0).remote(name)
            try:
                return self._follow(self._start(driver)), None
            except RayTaskError as error:
                # The search itself raised; it would again.
                _log.error("job %s: %s", self._claim.job_id, error)
                return JobState.FAILED, _sentence(error.cause)
            except RayError as error:
                self._deaths += 1
                reason = _sentence(error)
                if self._deaths > DEATHS:
                    again = f"its driver died {self._deaths} times without a result in between"
                    return JobState.FAILED, f"{again}; the last time: {reason}"
                _log.warning("job %s: its driver died: %s", self._claim.job_id, reason)
                note = f"The driver died and is started again ({self._deaths} of {DEATHS})."
                self._patiently(lambda note=note: self._store.log(self._claim, note))  # type: ignore[misc]
            finally:
                ray.kill(driver)
                release(name)

    def _start(self, driver: Any) -> Any:
        history = self._patiently(lambda: self._store.history(self._claim.job_id))
        run = driver.run.options(num_returns="streaming")
        past = (history.trials, history.snapshot)
        return run.remote(self._build, self._claim.spec.model_dump_json(), past)

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

    def _beat(self) -> JobState | None:
        """Renew the lease when it is time; return the state to stop in, if there is one."""
        if self._stopping.is_set():
            return JobState.QUEUED
        if time.monotonic() - self._renewed < BEAT_SECONDS:
            return None
        state = self._patiently(lambda: self._store.renew(self._claim, self._lease_seconds))
        self._renewed = time.monotonic()
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


@contextmanager
def _environment() -> Iterator[None]:
    """Set what Ray's processes inherit when they are started, and only then."""
    root = str(Path(__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = {
        # Where this very code stands, installed or not.
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
