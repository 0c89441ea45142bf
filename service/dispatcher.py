"""The dispatcher: takes queued jobs, has Ray run them, and writes what happens to the store.

It is crash-only: whatever is killed, the next start finds in SQL what is left to do. Only the
dispatcher writes trials, and the store takes a write only while the claim on the job holds.
"""

import logging
import os
import socket
import threading
import time

from service.cluster import Cluster, Unreachable
from service.drivers import Drivers
from service.resources import JobState
from service.run import PATIENCE_SECONDS, POLL_SECONDS, Run
from service.settings import Settings
from service.store.errors import StorageFull, StoreError, Unavailable
from service.store.query import MAX_PAGE_SIZE, Query
from service.store.queue import Claim
from service.store.store import Store

BUILD = "service.assembly:build"
"""Makes a job's plan, in the driver."""

QUIET_SECONDS = 1.0
"""How long nothing must run until the next job's driver is seen to."""

OUTAGE_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a Ray that cannot be reached is tried again; the last one again and again."""

FAREWELL_SECONDS = 15.0
"""How long the runs may take to end when Ray has died; one that asks it something never does."""

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
        self._cluster = Cluster(settings)
        self._drivers = Drivers(build, settings.concurrent_jobs, lasting=not settings.ray_address)
        self._outage: str | None = None
        self._tries = 0
        """How often Ray was tried since it is away."""

        self._told: set[str] = set()
        """The jobs that were told that Ray cannot be reached; empty while it can."""

    @property
    def outage(self) -> str | None:
        """Why no job can run now, in words that give no address away; None while jobs run."""
        return self._outage

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
                if not self._ray_runs():
                    continue
                claim = self._claim()
                if claim is not None:
                    self._begin_or_drop(claim)
                    continue
                if self._runs:
                    quiet_since = time.monotonic()
                elif time.monotonic() - quiet_since >= QUIET_SECONDS:
                    self._drivers.tend()
                self._store.queued.wait(POLL_SECONDS)
        finally:
            self._end()

    def _end(self) -> None:
        for thread in self._runs:
            thread.join()
        if self._outage is None and self._cluster.fault() is None:
            self._drivers.close()
        self._cluster.leave()

    def _get_ready(self) -> None:
        """Start or join Ray before the first job comes."""
        try:
            self._cluster.join()
        except Unreachable as why:
            self._be_without(why)

    def _ray_runs(self) -> bool:
        """See that Ray runs; where it has died or was away, try once to have it again."""
        if self._outage is None:
            fault = self._cluster.fault()
            if fault is None:
                return True
            self._bury(fault)
        try:
            self._cluster.join()
        except Unreachable as why:
            self._be_without(why)
            return False
        _log.warning("Ray runs again; the jobs go on")
        self._outage, self._tries = None, 0
        self._told.clear()
        return True

    def _bury(self, fault: str) -> None:
        """Let go of a Ray that has died, and of all that died with it."""
        own = not self._settings.ray_address
        what = "it is started again" if own else "it is joined again when it answers"
        _log.warning("%s; its jobs wait, and %s", fault, what)
        self._outage = f"the service's Ray has died and {what}; jobs wait"
        end = time.monotonic() + FAREWELL_SECONDS
        for thread in self._runs:
            thread.join(max(0.0, end - time.monotonic()))
        self._runs = []
        self._drivers.forget()
        self._cluster.leave()

    def _be_without(self, why: Unreachable) -> None:
        """Say that Ray cannot be had, to the jobs too, and wait a while."""
        if self._tries == 0:
            _log.warning("%s; jobs wait, and it is tried again", why)
        self._outage = self._outage or "Ray cannot be reached and is tried again; jobs wait"
        try:
            self._tell(f"{_capital(str(why))}; the job waits, and it is tried again.")
        except StoreError as error:
            _log.warning("cannot tell the jobs that wait: %s", error)
        self._stopping.wait(OUTAGE_SECONDS[min(self._tries, len(OUTAGE_SECONDS) - 1)])
        self._tries += 1

    def _tell(self, sentence: str) -> None:
        """Tell every job that waits, once, why it does."""
        query = Query(page_size=MAX_PAGE_SIZE, filter="state = QUEUED", order_by="created desc")
        if all(job.id in self._told for job in self._store.jobs(query).items):
            return
        claims = []
        # Only who holds a job writes to it; held until all are told, or the first would be
        # claimed again and again.
        while (claim := self._store.claim(self._owner, self._settings.lease_seconds)) is not None:
            claims.append(claim)
        for each in claims:
            if each.job_id not in self._told:
                self._store.log(each, sentence)
                self._told.add(each.job_id)
            self._store.finish(each, JobState.QUEUED)

    def _claim(self) -> Claim | None:
        if len(self._runs) >= self._settings.concurrent_jobs:
            return None
        try:
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
        if self._cluster.fault() is not None:
            # A run saw it first and gave its job back; all else follows in the next round.
            self._store.finish(claim, JobState.QUEUED)
            return
        run = Run(self._store, claim, self._settings, self._drivers, self._cluster, self._stopping)
        thread = threading.Thread(target=run.to_end, name=f"job {claim.job_id}", daemon=True)
        self._runs.append(thread)
        thread.start()


def owner_name(settings: Settings) -> str:
    """Return the name under which a dispatcher claims jobs, the same after a restart.

    One process alone owns the embedded SQLite file, so there is one name for it; beside others
    on a shared database a dispatcher is known by its host and process.
    """
    if settings.store_url().startswith("sqlite"):
        return "embedded"
    return f"{socket.gethostname()}:{os.getpid()}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
