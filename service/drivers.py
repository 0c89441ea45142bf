"""The drivers that a dispatcher employs, one of which waits, warm, for the next job."""

import logging
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from service.cluster import first_line
from workers.driver import employ, lives, release

ANSWER_SECONDS = 2.0
"""How long a driver that waits may take to say how it is."""

LOOK_SECONDS = 5.0
"""How often it is looked whether the driver that waits still lives."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Driver:
    """An actor, see `workers.driver.JobDriver`, and its name."""

    name: str
    actor: Any


class Drivers:
    """Employs drivers; thread-safe.

    To start a driver and its workers takes seconds, most of them to import torch and Ray Tune. So
    one that has brought a job to its end is kept with its workers, and where there is none, one is
    made ready while nothing else is to do. One alone waits: each has some processes in memory.

    Args:
        build: Makes a job's plan (see `workers.trainable.resolve`).
        jobs: How many may run side by side.
        lasting: Whether drivers are kept. Only where the service owns Ray: on a cluster that
            others share a driver that waits would hold what they could use.
    """

    def __init__(self, build: str, jobs: int, *, lasting: bool) -> None:
        self.build = build
        self._jobs = jobs
        self._lasting = lasting
        self._lock = threading.Lock()
        self._spare: Driver | None = None
        self._unproven: Driver | None = None
        """The spare, as long as nobody asked it whether it is fit."""

        self._looked = 0.0
        self._wanted = lasting
        """Whether a spare is to be made ready; not again until a job has come to its end."""

    def take(self) -> Driver:
        """Return a driver for a job: the one that waits, or a new one."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            if lives(spare.name):
                return spare
            release(spare.name)
        return self._employ()

    def give_back(self, driver: Driver) -> None:
        """Keep a driver that has brought its job to the end, or dismiss it."""
        with self._lock:
            kept = self._lasting and self._spare is None
            if kept:
                self._spare = self._unproven = driver
            self._wanted = self._lasting
        if not kept:
            self.dismiss(driver)

    def dismiss(self, driver: Driver) -> None:
        """End a driver, and with it whatever it runs."""
        ray.kill(driver.actor)
        release(driver.name)
        with self._lock:
            self._wanted = self._lasting

    def tend(self) -> None:
        """See, while nothing else is to do, that a driver waits and that it is fit."""
        try:
            self._replace_unfit()
            self._replace_dead()
            with self._lock:
                if self._wanted and self._spare is None:
                    self._spare = self._employ()
                    self._spare.actor.prepare.remote(self.build)
                self._wanted = False
        except RayError as error:
            _log.info("no driver can be made ready: %s", first_line(error))

    def _replace_unfit(self) -> None:
        with self._lock:
            unproven, self._unproven = self._unproven, None
            asked = unproven is not None and unproven is self._spare
        if asked and unproven is not None and not self._fit(unproven):
            self.close()

    def _replace_dead(self) -> None:
        """Let go of a driver whose process died while it waited, so that no job finds it so."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        with self._lock:
            spare = self._spare
            if spare is None or lives(spare.name):
                return
            self._spare, self._wanted = None, self._lasting
        release(spare.name)
        _log.info("a driver that waited has died and is replaced")

    def forget(self) -> None:
        """Strike the driver off that waits, after Ray itself has died and it of that."""
        with self._lock:
            self._spare = self._unproven = None
            self._wanted = self._lasting

    def close(self) -> None:
        """Dismiss the driver that waits."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            self.dismiss(spare)

    def _employ(self) -> Driver:
        name = uuid.uuid4().hex
        return Driver(name, employ(name, self._jobs, lasting=self._lasting))

    def _fit(self, driver: Driver) -> bool:
        try:
            return bool(ray.get(driver.actor.fit.remote(), timeout=ANSWER_SECONDS))
        except RayError as error:  # A timeout is one too.
            _log.info("a driver that waited is replaced: %s", first_line(error))
            return False
