"""What every way of searching looks like from outside: ask for proposals, tell what came of them.

A strategy is pure: it knows no Ray, no SQL and no clock, and all its randomness comes from the
job's seed. `search.tune_searcher` presents one to Ray Tune.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from dsl.candidate import Proposal, Stage
from dsl.outcome import Outcome

History = Sequence[tuple[Proposal, Outcome | None]]
"""All that was asked of a job in the order of numbers, each with its outcome where there is one."""

Known = Mapping[Stage, Mapping[str, Outcome]]
"""What trials found out under the same conditions, by stage and `Proposal.behaviour`."""


@runtime_checkable
class Strategy(Protocol):
    """Chooses what to try next. Called from one thread at a time.

    Laws, which `tests/search/laws.py` holds every strategy to:

    1. Numbers. New proposals are numbered 0, 1, 2 … in the order of asking, without gaps. A
       number is asked once by one strategy object, and is outstanding until it is told or
       abandoned.
    2. Waiting. `ask` gives at most `count` proposals. Fewer, or none, means that the strategy
       must hear of outstanding ones first, or that it is finished; it never blocks. With nothing
       outstanding, `ask` gives at least one proposal or `finished` is true.
    3. Finishing. `finished` is true once the budget is asked and nothing is outstanding; from
       then on `ask` gives none. It is false while anything is outstanding.
    4. Telling. Outcomes may come in any order and grouping. One for a number that is already
       told or abandoned changes nothing; one for a number that was never asked is a ValueError.
       A trial that failed through our own fault is not told but abandoned; an outcome that
       says FAILED or CANCELLED is taken as that.
    5. Abandoning. The number counts as asked, teaches nothing, and is never asked again.
    6. Restoring. On a fresh object built with the same arguments, `restore(history, snapshot)`
       is called once, before the first `ask`. The proposals without an outcome are then asked
       again first, equal to the ones asked before, number included. Numbers that the history
       leaves out, and those whose outcome is FAILED or CANCELLED, count as abandoned. The
       snapshot may be missing or older than the history: what it does not know is learnt from
       the history.
    7. Continuing. Given the snapshot that was taken after the last outcome was told, a restored
       strategy asks what the uninterrupted one would have asked.
    8. Pickling. A strategy can be pickled and deep-copied between any two calls.
    """

    def ask(self, count: int) -> list[Proposal]:
        """Return at most `count` proposals to try now (law 2).

        Raises:
            ValueError: `count` is less than 1.
        """
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn what came of proposals (law 4).

        Raises:
            ValueError: a number was never asked.
        """
        ...

    def abandon(self, numbers: Sequence[int]) -> None:
        """Give up on proposals that will never have an outcome (law 5).

        Raises:
            ValueError: a number was never asked.
        """
        ...

    def restore(self, history: History, snapshot: bytes | None) -> None:
        """Take up a search that an earlier object began (law 6).

        Raises:
            ValueError: the history is not in the order of numbers, or the object has been used.
        """
        ...

    def snapshot(self) -> bytes | None:
        """Return what has been learnt and cannot be rebuilt from the history, None if nothing."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask and nothing is outstanding (law 3)."""
        ...
