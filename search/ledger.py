"""The bookkeeping every strategy shares: which numbers are asked, outstanding, settled."""

from collections import deque
from collections.abc import Iterable

import numpy as np

from dsl.candidate import Proposal
from dsl.outcome import Outcome, TrialState
from search.strategy import History


def derived_seed(seed: int, number: int) -> int:
    """Return a 32-bit seed for the draws that begin at a proposal's number.

    Drawing from a generator seeded so keeps no generator state between calls: a search rebuilt
    from its rows draws what the uninterrupted one would have drawn.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def check_count(count: int) -> None:
    """Raise ValueError unless at least one proposal is asked for."""
    if count < 1:
        raise ValueError(f"asked for {count} proposals: ask for at least 1")


def teaches(outcome: Outcome) -> bool:
    """Return whether an outcome is the candidate's own, not our fault or somebody's wish."""
    return outcome.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE)


class Ledger:
    """Numbers proposals and remembers only the outstanding ones, so that memory stays flat."""

    def __init__(self, first: int = 0) -> None:
        """Begin numbering at `first`."""
        self.first = first
        self.next = first
        self._outstanding: dict[int, Proposal] = {}
        self._again: deque[Proposal] = deque()

    @property
    def outstanding(self) -> int:
        """How many proposals wait for an outcome, those to be asked again included."""
        return len(self._outstanding)

    @property
    def waiting(self) -> list[Proposal]:
        """The proposals that wait for an outcome, in the order of numbers."""
        return [self._outstanding[number] for number in sorted(self._outstanding)]

    def take_again(self, count: int) -> list[Proposal]:
        """Return up to `count` proposals that a former driver asked and never heard of."""
        return [self._again.popleft() for _ in range(min(count, len(self._again)))]

    def open(self, proposal: Proposal) -> Proposal:
        """Enter a proposal that is asked for the first time; its number must be the next one."""
        if proposal.number != self.next:
            raise ValueError(f"proposal {proposal.number} is not the next one, {self.next}")
        self.next += 1
        self._outstanding[proposal.number] = proposal
        return proposal

    def settle(self, number: int) -> Proposal | None:
        """Take a proposal out; None if it was settled before.

        Raises:
            ValueError: the number was never asked.
        """
        self.check(number)
        proposal = self._outstanding.pop(number, None)
        if proposal is not None and self._again:
            self._again = deque(p for p in self._again if p.number != number)
        return proposal

    def settle_all(self, numbers: Iterable[int]) -> list[Proposal]:
        """Take several proposals out, leaving out those settled before.

        Raises:
            ValueError: a number was never asked; then none is taken out.
        """
        numbers = tuple(numbers)
        for number in numbers:
            self.check(number)
        return [p for p in map(self.settle, numbers) if p is not None]

    def check(self, number: int) -> None:
        """Raise ValueError unless the number was asked."""
        if not self.first <= number < self.next:
            asked = f"trials {self.first} to {self.next - 1}" if self.next > self.first else "none"
            raise ValueError(f"trial {number} was never asked; asked: {asked}")

    def restore(self, history: History) -> None:
        """Take over a former search's numbers; its open proposals will be asked again.

        Raises:
            ValueError: this ledger is in use, or the history is not in the order of numbers.
        """
        if self.next != self.first:
            raise ValueError(f"{self.next - self.first} proposals are asked: restore comes first")
        for proposal, outcome in history:
            if proposal.number < self.next:
                raise ValueError(
                    f"trial {proposal.number} comes after trial {self.next - 1} in the history: "
                    "give it in the order of numbers"
                )
            self.next = proposal.number + 1
            if outcome is None:
                self._outstanding[proposal.number] = proposal
                self._again.append(proposal)
