"""The workers of a driver: Tune trials that train populations, or wait for the next one."""

import threading

from workers.desk import Desk

STILL_SECONDS = 10.0
"""How long Tune's loop stands still at most while there is no job."""


class Crew:
    """What a driver and the thread of its Tuner share; never pickled.

    A Tune trial without a population is a worker that waits: a process that has imported all it
    needs, holds its place and uses no processor. Such workers bridge the pauses of a search that
    needs an answer before it goes on and, where `size` is above 0, the time between jobs.

    All but `begin` is called by the Tuner's thread.

    Args:
        size: How many workers wait between jobs.
    """

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.desk: Desk | None = None
        self.handing: str | None = None
        """The Tune trial, with a population, that is to take the place of a worker that waits."""

        self.trials = 0
        """How many Tune trials there have been: Tune keeps a record of each."""

        self.resident = 0
        """Bytes of memory that the largest worker had when it last began to wait."""

        self._hired: dict[str, bool] = {}
        """The Tune trials without a population; True for those that are ready."""

        self._futile = False
        """Whether a hired worker failed for good before it was ready."""

        self._changed = threading.Condition()

    def begin(self, desk: Desk) -> None:
        """Work at a job's desk from now on."""
        with self._changed:
            self.desk = desk
            self._changed.notify()

    def end(self, desk: Desk) -> None:
        """Leave a desk, after which its stream of messages ends."""
        self.desk = None
        self.resident = 0
        desk.messages.put(None)

    def next_desk(self) -> Desk | None:
        """Return the desk to work at; where there is none and all are ready, wait a while."""
        with self._changed:
            complete = len(self._hired) >= self.size and all(self._hired.values())
            if self.desk is None and complete:
                self._changed.wait(STILL_SECONDS)
            return self.desk

    def has_place(self, desk: Desk) -> bool:
        """Return whether a population of this job would get a worker now."""
        allowed = desk.allowed()
        if len(desk.out) >= allowed or self.handing is not None:
            return False
        # Those that are being started come first, lest two start for one population.
        return self.first_ready() is not None or len(desk.out) + len(self._hired) < allowed

    def hire(self, trial_id: str) -> bool:
        """Let this Tune trial be a worker that waits, unless there are enough; say whether."""
        desk = self.desk
        busy, most = (0, self.size) if desk is None else (len(desk.out), desk.allowed())
        wanted = busy + len(self._hired) < most and not self._futile
        if wanted:
            self.trials += 1
            self._hired[trial_id] = False
        return wanted

    def ready(self, trial_id: str, resident: int) -> None:
        """Note that a hired worker waits now, and the memory it has."""
        self._hired[trial_id] = True
        self.resident = max(self.resident, resident)

    def first_ready(self) -> str | None:
        """Return the Tune trial that waits longest."""
        return next((trial_id for trial_id, ready in self._hired.items() if ready), None)

    def strike(self, trial_id: str) -> bool:
        """Strike a Tune trial off; return whether it was one without a population.

        One that was never ready has failed as often as Tune tries it: no more are hired then, and
        none is to wait between jobs.
        """
        ready = self._hired.pop(trial_id, None)
        if ready is False:
            self._futile, self.size = True, 0
        return ready is not None

    def hired(self, trial_id: str) -> bool:
        """Return whether this is a Tune trial without a population."""
        return trial_id in self._hired


CREWS: dict[str, Crew] = {}
"""The crews of this process, by key: Tune pickles and copies its searcher, queues do not."""
