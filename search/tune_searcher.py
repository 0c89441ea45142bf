"""A strategy presented to Ray Tune: every Tune trial is one population of proposals."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from dsl.candidate import Proposal, Stage
from dsl.outcome import Outcome
from search.memory import Memory
from search.space import Point
from search.strategy import Known, Strategy
from search.tuning import OptunaStrategy

ATTEMPTS = 3
"""How often a proposal whose worker was lost is asked in all before it is given up."""


class PopulationSearcher(Searcher):
    """Hand out a strategy's proposals in populations and tell it what came of them.

    A population that is lost (its worker process died once more than Tune retries it) is asked
    again in smaller parts, the last time each proposal alone: a proposal that kills its process
    (out of memory, say) is found, and given up without its neighbours.

    Args:
        strategy: What to try next.
        population: The most proposals in one Tune trial.
        spread: Over how many Tune trials a stage after the search, which comes all at once, is
            spread; the number that run at the same time.
        known: What need not be tried: the strategy is told at once, and `taken_over` says so. Of
            its stages nothing is tried twice in this search either.
        job: The id of the job that is searched for.
    """

    def __init__(
        self,
        strategy: Strategy,
        population: int,
        spread: int = 1,
        known: Known | None = None,
        job: str = "",
    ) -> None:
        super().__init__()
        self.strategy = strategy
        self.population = population
        self.spread = spread
        self._memory = Memory(known or {}, job)
        self._stalled = False
        """Whether all that was asked last waits for outcomes that are due."""

        self._waiting: list[Proposal] = []
        self._taken_over: list[tuple[Proposal, Outcome]] = []
        self._ready: deque[tuple[Proposal, ...]] = deque()
        self._out: dict[str, tuple[Proposal, ...]] = {}
        self._losses: dict[int, int] = {}

    @property
    def finished(self) -> bool:
        """Whether all is asked and answered."""
        return not self._ready and not self._out and self.strategy.finished

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next population, FINISHED, or None to wait for an answer.

        Raises:
            RuntimeError: The strategy waits for an answer though none is due.
        """
        if not self._ready and not self._stalled and not self.strategy.finished:
            self._ready.extend(self._split(self._ask()))
        if self._ready:
            population = self._out[trial_id] = self._ready.popleft()
            return {"population": [proposal.model_dump(mode="json") for proposal in population]}
        if self._out:
            return None
        if self.strategy.finished:
            # Tune's word for the end is a string, which its own annotation forgets.
            return Searcher.FINISHED  # type: ignore[return-value]
        raise RuntimeError(
            "the strategy is not finished, has nothing to ask and waits for no answer"
        )

    def enqueue(self, points: Sequence[Point]) -> None:
        """Have a tune job's strategy ask these points next, all that the job ever had.

        Raises:
            TypeError: the strategy searches rules, which are no points.
        """
        if not isinstance(self.strategy, OptunaStrategy):
            raise TypeError(f"{type(self.strategy).__name__} has no points to try")
        self.strategy.enqueue(points)

    def taken_over(self) -> list[tuple[Proposal, Outcome]]:
        """Return what was known since this was last asked, with its outcomes, already told."""
        found, self._taken_over = self._taken_over, []
        return found

    def waiting(self) -> list[Proposal]:
        """Return what, since this was last asked, began to wait for an equal one's outcome."""
        found, self._waiting = self._waiting, []
        return found

    def _ask(self) -> list[Proposal]:
        """Ask the strategy until there is something to try or to wait for, or nothing to ask."""
        while proposals := self.strategy.ask(self.population):
            known: list[tuple[Proposal, Outcome]] = []
            untried: list[Proposal] = []
            waiting: list[Proposal] = []
            for proposal in proposals:
                outcome = self._memory.outcome_of(proposal)
                if outcome is not None:
                    known.append((proposal, outcome))
                else:
                    (waiting if self._memory.waits(proposal) else untried).append(proposal)
            if known:
                self.strategy.tell([outcome for _, outcome in known])
                self._taken_over += known
            self._waiting += waiting
            # To ask on would be to ask all at once, of a sampler that learns nothing between.
            self._stalled = bool(waiting) and not untried
            if untried or waiting or self.strategy.finished:
                return untried
        return []

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the strategy the outcomes; ask again what the result does not answer."""
        population = self._out.pop(trial_id, None)
        if population is None:
            return
        self._stalled = False
        asked = {proposal.number: proposal for proposal in population}
        answered = [] if error or result is None else result["outcomes"]
        outcomes = [Outcome.model_validate(entry) for entry in answered]
        equal: list[tuple[Proposal, Outcome]] = []
        for outcome in outcomes:
            # pop raises KeyError for a number that was not asked: that would be our own fault.
            equal += self._memory.learn(asked.pop(outcome.number), outcome)
            self._losses.pop(outcome.number, None)
        if outcomes:
            self.strategy.tell([*outcomes, *(outcome for _, outcome in equal)])
            self._taken_over += equal
        if asked:
            self._lose(list(asked.values()))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: the one result is also the last."""

    def snapshot(self) -> bytes | None:
        """Return the strategy's state, for the store."""
        return self.strategy.snapshot()

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: SQL is the only truth, Tune's snapshots are not."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a job is rebuilt from SQL."""

    def _split(self, proposals: Sequence[Proposal]) -> list[tuple[Proposal, ...]]:
        """Spread what is compared over all workers; leave the search's populations whole."""
        parts = self.spread if any(p.stage is not Stage.SEARCH for p in proposals) else 1
        return _cut(proposals, math.ceil(len(proposals) / parts))

    def _lose(self, proposals: Sequence[Proposal]) -> None:
        abandoned = []
        again: dict[int, list[Proposal]] = {}
        for proposal in proposals:
            losses = self._losses[proposal.number] = self._losses.get(proposal.number, 0) + 1
            if losses >= ATTEMPTS:
                del self._losses[proposal.number]
                abandoned.append(proposal.number)
                if (heir := self._memory.give_up(proposal)) is not None:
                    self._ready.append((heir,))
            else:
                again.setdefault(losses, []).append(proposal)
        for losses, some in again.items():
            # Second attempt: eight parts. Last attempt: alone.
            size = 1 if losses == ATTEMPTS - 1 else math.ceil(len(some) / 8)
            self._ready.extend(_cut(some, size))
        if abandoned:
            self.strategy.abandon(abandoned)


def _cut(proposals: Sequence[Proposal], size: int) -> list[tuple[Proposal, ...]]:
    return [tuple(proposals[i : i + size]) for i in range(0, len(proposals), max(size, 1))]
