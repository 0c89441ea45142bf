"""The funnel after a search: level by level fewer candidates, judged harder each time."""

import hashlib
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.distinct import distinct
from search.identity import behaviour, named
from search.ledger import Ledger, check_count
from search.settings import Objective
from search.strategy import History, Strategy

SPARE = 500
"""Candidates remembered besides those that can climb: the best ones' near-copies, which stay
below. Remembering a fixed number of the best keeps memory flat, whatever order outcomes come in."""


@dataclass(frozen=True)
class Level:
    """One level: whose best climb to it, and what they meet there."""

    stage: Stage
    source: Stage
    """The stage whose outcomes choose who climbs. Baselines never climb: they are there."""

    top: int
    """How many climb."""

    baselines: tuple[tuple[str, Candidate], ...]
    """Labelled, after those that climbed."""

    seed: int
    """First seed of all that is judged here."""

    tasks: tuple[str | None, ...] = (None,)
    """All candidates meet each of these tasks; None is the job's own."""


class WithLevel:
    """A strategy that runs another to its end, then proposes one level more.

    The level begins when the inner strategy has finished, so every outcome that chooses is in.
    For each task it proposes the `top` candidates with the best outcomes in the source stage that
    are no near-copies of better ones or of baselines (`search.distinct`), best first, then the
    baselines. Where the search found too few of those, its best near-copies fill up, never what
    behaves just as a baseline. All have the same seeds and no learning rate, so the grid chooses
    one for each alike.
    """

    def __init__(self, inner: Strategy, objective: Objective, level: Level) -> None:
        """Let the best that `inner` finds, by `objective`, climb to `level`."""
        self.inner = inner
        self.objective = objective
        self.level = level
        self._asked: dict[int, Proposal] = {}
        self._best: list[tuple[float, int, Candidate]] = []
        self._next = 0
        self._late = 0
        self._plan: list[tuple[str | None, str | None, Candidate]] | None = None
        self._ledger = Ledger()

    def ask(self, count: int) -> list[Proposal]:
        """See `Strategy.ask`: the inner proposals first, then, when all are in, the level's."""
        check_count(count)
        if self._plan is None and not self.inner.finished:
            proposals = self._enter(self.inner.ask(count))
            if proposals or not self.inner.finished:
                return proposals
        late = self.inner.ask(min(count, self._late)) if self._late else []
        self._late -= len(late)
        if self._plan is None:
            self._begin(self._next)
        room = count - len(late)
        again = self._ledger.take_again(room)
        done = self._ledger.next - self._ledger.first
        plan = (self._plan or [])[done : done + room - len(again)]
        new = [self._ledger.open(self._proposal(*entry)) for entry in plan]
        return [*late, *again, *new]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """See `Strategy.tell`."""
        ours = [o for o in outcomes if self._ours(o.number)]
        theirs = [o for o in outcomes if not self._ours(o.number)]
        self._ledger.settle_all(outcome.number for outcome in ours)
        self.inner.tell(theirs)
        for outcome in theirs:
            self._rank(outcome)

    def abandon(self, numbers: Sequence[int]) -> None:
        """See `Strategy.abandon`."""
        self._ledger.settle_all(number for number in numbers if self._ours(number))
        theirs = [number for number in numbers if not self._ours(number)]
        self.inner.abandon(theirs)
        for number in theirs:
            self._asked.pop(number, None)

    def restore(self, history: History, snapshot: bytes | None) -> None:
        """See `Strategy.restore`. Once begun, a level is kept as it was planned."""
        inner = [row for row in history if row[0].stage is not self.level.stage]
        own = [row for row in history if row[0].stage is self.level.stage]
        self.inner.restore(inner, snapshot)
        self._enter([proposal for proposal, _ in inner])
        for _, outcome in inner:
            if outcome is not None:
                self._rank(outcome)
        if own:
            self._late = sum(outcome is None for _, outcome in inner)
            self._begin(own[0][0].number, [proposal for proposal, _ in own])
            self._ledger.restore(own)

    def snapshot(self) -> bytes | None:
        """Return the inner strategy's; the rows say the rest."""
        return self.inner.snapshot()

    @property
    def finished(self) -> bool:
        """See `Strategy.finished`."""
        # A search rebuilt after this level began may not know yet that its language is exhausted.
        if self._ledger.outstanding or self._asked:
            return False
        if self._plan is None:
            climbs = self.level.baselines or (self.level.top and self._best)
            return self.inner.finished and not climbs
        return self._ledger.next - self._ledger.first >= len(self._plan)

    def _ours(self, number: int) -> bool:
        return self._plan is not None and number >= self._ledger.first

    def _enter(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        for proposal in proposals:
            self._asked[proposal.number] = proposal
            self._next = max(self._next, proposal.number + 1)
        return list(proposals)

    def _rank(self, outcome: Outcome) -> None:
        proposal = self._asked.pop(outcome.number, None)
        if proposal is None or outcome.state is not TrialState.COMPLETE:
            return
        if proposal.stage is not self.level.source or proposal.label is not None:
            return
        value = self.objective.sign() * outcome.metrics[self.objective.metric]
        insort(self._best, (value, outcome.number, proposal.candidate), key=lambda entry: entry[:2])
        del self._best[self.level.top + len(self.level.baselines) + SPARE :]

    def _begin(self, first: int, asked: Sequence[Proposal] = ()) -> None:
        entrants = [*((None, each) for each in self._climbers(asked)), *self.level.baselines]
        self._plan = [(task, *entrant) for task in self.level.tasks for entrant in entrants]
        self._ledger = Ledger(first)

    def _climbers(self, asked: Sequence[Proposal] = ()) -> list[Candidate]:
        """Return who climbs, in order: first those that a former driver, or version, asked."""
        best = [candidate for _, _, candidate in self._best]
        baselines = [candidate for _, candidate in self.level.baselines]
        places = distinct(best, self.level.top, baselines)
        rest = sorted(set(range(len(best))) - set(places))
        known = {_known(candidate) for candidate in baselines}
        found: list[Candidate] = []
        former = [proposal.candidate for proposal in asked if proposal.label is None]
        for candidate in [*former, *(best[place] for place in [*places, *rest])]:
            if len(found) == self.level.top:
                break
            name = _known(candidate)
            if name not in known:
                known.add(name)
                found.append(candidate)
        return found

    def _proposal(self, task: str | None, label: str | None, candidate: Candidate) -> Proposal:
        fresh = candidate.model_copy(update={"seed": self.level.seed, "lr": None})
        return Proposal(
            number=self._ledger.next,
            candidate=fresh,
            stage=self.level.stage,
            task=task,
            label=label,
            behaviour=_on(task, named(fresh)),
        )


def _on(task: str | None, name: bytes) -> str:
    """Return what stands for a behaviour on a task that is not the job's, 32 digits."""
    if task is None:
        return name.hex()
    return hashlib.sha256(name + task.encode()).hexdigest()[:32]


def _known(candidate: Candidate) -> str:
    """Return what tells candidates apart here, where every learning rate is tuned."""
    return behaviour(candidate.model_copy(update={"lr": None}))
