"""A job's trials in columns, for figures and totals, read from the store only as they change.

A page that follows a job of ten thousand trials must not read ten thousand rows a second. A trial
that has ended never changes, so each digest remembers up to which number all trials have ended and
reads on from there.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from dsl.candidate import Stage
from dsl.figures import figure
from dsl.outcome import TrialState
from search.front import front
from search.settings import Objective
from service.jobs import TuneJob
from service.resources import Job, Trial
from service.store.query import Query
from service.store.store import Store

OPEN = frozenset({TrialState.QUEUED, TrialState.RUNNING})
"""States that a trial leaves by itself."""

GIVEN_UP = frozenset({TrialState.FAILED, TrialState.CANCELLED})
"""States that a trial leaves only when its job is resumed."""

PAGE = 500
KEPT = 64
"""Jobs whose digests are remembered."""

_NUMBER = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Point:
    """What the figures need of one trial."""

    number: int
    state: TrialState
    stage: Stage
    value: float | None
    lr: float | None
    cost: float
    steps: int
    """Training steps that were spent."""

    length: int
    """Steps of the longest run; 0 where none was begun."""

    taken_over: bool
    reason: str | None
    parameters: dict[str, Any]
    figures: tuple[float | None, ...] = ()
    """With several objectives: of each, in their order."""


@dataclass(slots=True)
class Digest:
    """A job's trials by number, and the first number that may still change."""

    points: dict[int, Point] = field(default_factory=dict)
    mark: int = 0
    front: list[int] = field(default_factory=list)
    """With several objectives: numbers of the trials that none beats in all, in order of the
    first objective, the best first."""

    weighed: set[int] = field(default_factory=set)
    """Numbers of the COMPLETE trials that the front was chosen from."""

    def read(self, store: Store, job: Job) -> None:
        """Bring the digest up to date with the store."""
        given_up = sum(point.state in GIVEN_UP for point in self.points.values())
        if given_up > sum(job.trials.get(state, 0) for state in GIVEN_UP):
            # A job that goes on asks again for trials that had been given up: read all anew.
            self.points.clear()
            self.front.clear()
            self.weighed.clear()
            self.mark = 0
        objectives = several(job)
        for trial in _trials(store, job.id, self.mark):
            self.points[trial.number] = _point(trial, objectives)
        while self.mark in self.points and self.points[self.mark].state not in OPEN:
            self.mark += 1
        if objectives:
            self._weigh(objectives)

    def _weigh(self, objectives: Sequence[Objective]) -> None:
        """Choose the front from the old one and what is new."""
        complete = {p.number for p in self.search() if p.state is TrialState.COMPLETE}
        rivals = sorted({*self.front, *(complete - self.weighed)})
        figures = [self.points[number].figures for number in rivals]
        whole = [tuple(value for value in row if value is not None) for row in figures]
        chosen = front(whole, [objective.direction for objective in objectives])
        self.front, self.weighed = [rivals[i] for i in chosen], complete

    def search(self) -> list[Point]:
        """Return the search stage's trials, in the order of their numbers."""
        return sorted(
            (point for point in self.points.values() if point.stage is Stage.SEARCH),
            key=lambda point: point.number,
        )

    def seconds(self) -> float:
        """Return the core-seconds spent on all trials."""
        return sum(point.cost for point in self.points.values())

    def steps(self) -> int:
        """Return the training steps spent on all trials."""
        return sum(point.steps for point in self.points.values())

    def failures(self) -> list[tuple[TrialState, str, int]]:
        """Return (state, kind of reason, how many), the most frequent first.

        Reasons that differ only in their numbers ("diverged at step 12") are of one kind.
        """
        kinds = Counter(
            (point.state, _NUMBER.sub("…", point.reason or "no reason given"))
            for point in self.points.values()
            if point.state in (TrialState.INFEASIBLE, TrialState.FAILED)
        )
        return [(state, kind, many) for (state, kind), many in kinds.most_common(8)]


class Digests:
    """The digests of the jobs looked at last. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._digests: OrderedDict[str, tuple[Lock, Digest]] = OrderedDict()
        self._lock = Lock()

    def of(self, job: Job) -> Digest:
        """Return a job's digest as of now."""
        with self._lock:
            lock, digest = self._digests.setdefault(job.id, (Lock(), Digest()))
            self._digests.move_to_end(job.id)
            while len(self._digests) > KEPT:
                self._digests.popitem(last=False)
        with lock:
            digest.read(self._store, job)
            return Digest(dict(digest.points), digest.mark, list(digest.front))


def several(job: Job) -> tuple[Objective, ...]:
    """Return a job's objectives, none where it has but one."""
    found = job.spec.objectives if isinstance(job.spec, TuneJob) else ()
    return found if len(found) > 1 else ()


def best_so_far(points: list[Point], sign: float) -> list[float | None]:
    """Return, for each point, the best COMPLETE value up to it.

    Args:
        points: In the order of their numbers.
        sign: +1 if smaller is better, else -1.
    """
    best: float | None = None
    line: list[float | None] = []
    for point in points:
        value = point.value if point.state is TrialState.COMPLETE else None
        if value is not None and (best is None or sign * value < sign * best):
            best = value
        line.append(best)
    return line


def _point(trial: Trial, objectives: Sequence[Objective]) -> Point:
    return Point(
        trial.number,
        trial.state,
        trial.stage,
        trial.value,
        trial.lr,
        trial.cost_seconds,
        trial.cost_steps,
        trial.step,
        trial.origin is not None,
        trial.reason,
        trial.parameters,
        tuple(figure(trial, objective.metric) for objective in objectives),
    )


def _trials(store: Store, job_id: str, first: int) -> Iterator[Trial]:
    token: str | None = None
    while True:
        query = Query(
            page_size=PAGE, page_token=token, filter=f"number >= {first}", order_by="number"
        )
        page = store.trials(job_id, query)
        yield from page.items
        token = page.next_page_token
        if token is None:
            return
