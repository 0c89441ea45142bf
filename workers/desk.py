"""What a driver says, and the desk at which it and Tune's thread exchange it."""

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from dsl.candidate import Proposal
from dsl.outcome import Outcome
from dsl.schema import Frozen
from workers.schedules import Schedule


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


class Note(Frozen):
    """Something happened that a person who follows the job should read."""

    sentence: str


Point = dict[str, int | float | str]
"""Values by the names of a space's parameters."""

Message = Asked | Told | Lost | Note


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

    def enqueue(self, points: Sequence[Point]) -> None:
        """Ask these points next, all that the job ever had, of which the first are known."""

    def taken_over(self) -> list[tuple[Proposal, Outcome]]:
        """Return, once, what needed no worker, with its outcomes."""

    def waiting(self) -> list[Proposal]:
        """Return, once, what waits for the outcome of an equal proposal that a worker has."""

    def snapshot(self) -> bytes | None:
        """Return the state to keep."""


class Desk:
    """What a running search works with; never pickled."""

    def __init__(
        self,
        source: PopulationSource,
        allowed: Callable[[], int],
        config: Mapping[str, Any] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.source = source
        self.allowed = allowed
        """How many populations may be out now."""

        self.schedule = schedule
        """Which populations stop at a rung; None where all go on."""

        self.config = dict(config or {})
        """What a worker needs to know besides the population."""

        self.waiting: set[str] = set()
        """Of what is out, what has no worker yet."""

        self.workerless_since: float | None = time.monotonic()
        """Since when no worker works; None when that was said."""
        self.messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.points: queue.SimpleQueue[Sequence[Point]] = queue.SimpleQueue()
        """What a person adds while the job runs, on its way to the search."""

        self.out: dict[str, tuple[int, ...]] = {}
        self.failure: BaseException | None = None

    def hand_on_points(self) -> None:
        """Tell the search of the points that came in, in the thread that asks it."""
        while not self.points.empty():
            if points := self.points.get():
                self.source.enqueue(points)

    def worked(self, trial_id: str) -> None:
        """Note that a worker works on a population, or has until now."""
        self.waiting.discard(trial_id)
        self.workerless_since = time.monotonic()

    def next(self, workerless_seconds: float) -> Message | None:
        """Return the next message, None at the end; say it when no worker comes for too long."""
        while True:
            try:
                return self.messages.get(timeout=1.0)
            except queue.Empty:
                since, now = self.workerless_since, time.monotonic()
                if not self.waiting or len(self.out) > len(self.waiting):
                    self.workerless_since = now
                elif since is not None and now - since > workerless_seconds:
                    self.workerless_since = None
                    return Note(
                        sentence=f"No worker has been free for {workerless_seconds:.0f} seconds: "
                        "the cluster's CPUs or GPUs are taken by others, or none has joined; "
                        "the job waits for one."
                    )

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
