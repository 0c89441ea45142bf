"""After a search: the best rules beside the baselines, judged anew with seeds it never saw."""

import heapq
from collections.abc import Sequence

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.identity import behaviour, named
from search.ledger import Ledger, check_count, teaches
from search.settings import Objective
from search.strategy import History, Strategy

DISTANCE = 10_000
"""How far the comparison's first seed lies from the search's; no protocol has that many seeds."""


def fresh_seed(seed: int) -> int:
    """Return the first seed of the comparison after a search from `seed`, below 2^31 as it is."""
    return seed + DISTANCE if seed + 2 * DISTANCE < 2**31 else seed - DISTANCE


class WithComparison:
    """A strategy that runs another to its end, then proposes the comparison stage.

    The comparison begins when the inner strategy has finished, so every outcome of the search
    is in. It proposes the `top` rules with the best outcomes that behave otherwise than each
    other and than the baselines, best first, then the baselines under their labels. All have
    the same fresh seeds and no learning rate, so the grid chooses one for each alike.
    """

    def __init__(
        self,
        inner: Strategy,
        objective: Objective,
        top: int,
        baselines: Sequence[tuple[str, Candidate]],
        seed: int,
    ) -> None:
        """Compare the `top` rules that `inner` finds with labelled baselines.

        `seed` is the first seed that the search's own candidates train with.
        """
        self.inner = inner
        self.objective = objective
        self.top = top
        self.baselines = tuple(baselines)
        self.seed = seed
        self._asked: dict[int, Candidate] = {}
        self._best: list[tuple[float, int, Candidate]] = []
        self._next = 0
        self._late = 0
        self._plan: list[tuple[str | None, Candidate]] | None = None
        self._ledger = Ledger()

    def ask(self, count: int) -> list[Proposal]:
        """See `Strategy.ask`: the search's proposals first, then, when all are in, the others."""
        check_count(count)
        if self._plan is None and not self.inner.finished:
            return self._enter(self.inner.ask(count))
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
        """See `Strategy.restore`. Once begun, a comparison is kept as it was planned."""
        search = [row for row in history if row[0].stage is Stage.SEARCH]
        comparison = [row for row in history if row[0].stage is Stage.COMPARISON]
        self.inner.restore(search, snapshot)
        self._enter([proposal for proposal, _ in search])
        for _, outcome in search:
            if outcome is not None:
                self._rank(outcome)
        if comparison:
            self._late = sum(outcome is None for _, outcome in search)
            self._begin(comparison[0][0].number)
            self._ledger.restore(comparison)

    def snapshot(self) -> bytes | None:
        """Return the inner strategy's; the rows say the rest."""
        return self.inner.snapshot()

    @property
    def finished(self) -> bool:
        """See `Strategy.finished`."""
        if self._ledger.outstanding or self._asked:
            return False
        if self._plan is None:
            return self.inner.finished and not self._planned()
        return self._ledger.next - self._ledger.first >= len(self._plan)

    def _ours(self, number: int) -> bool:
        return self._plan is not None and number >= self._ledger.first

    def _enter(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        for proposal in proposals:
            self._asked[proposal.number] = proposal.candidate
            self._next = max(self._next, proposal.number + 1)
        return list(proposals)

    def _rank(self, outcome: Outcome) -> None:
        candidate = self._asked.pop(outcome.number, None)
        if candidate is None or not teaches(outcome) or outcome.state is not TrialState.COMPLETE:
            return
        value = self.objective.sign() * outcome.metrics[self.objective.metric]
        self._best.append((value, outcome.number, candidate))
        # Baselines may be found again, and then make room: so a few more than `top` are kept.
        keep = self.top + len(self.baselines)
        self._best = heapq.nsmallest(keep, self._best, key=lambda entry: entry[:2])

    def _begin(self, first: int) -> None:
        self._plan = self._planned()
        self._ledger = Ledger(first)

    def _planned(self) -> list[tuple[str | None, Candidate]]:
        known = {_known(candidate) for _, candidate in self.baselines}
        found: list[tuple[str | None, Candidate]] = []
        for _, _, candidate in self._best:
            name = _known(candidate)
            if name not in known and len(found) < self.top:
                known.add(name)
                found.append((None, candidate))
        return [*found, *self.baselines]

    def _proposal(self, label: str | None, candidate: Candidate) -> Proposal:
        fresh = candidate.model_copy(update={"seed": fresh_seed(self.seed), "lr": None})
        return Proposal(
            number=self._ledger.next,
            candidate=fresh,
            stage=Stage.COMPARISON,
            label=label,
            behaviour=named(fresh).hex(),
        )


def _known(candidate: Candidate) -> str:
    """Return what tells candidates apart here, where every learning rate is tuned."""
    return behaviour(candidate.model_copy(update={"lr": None}))
