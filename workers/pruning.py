"""Successive halving and Hyperband inside a population.

Jamieson & Talwalkar 2016, Algorithm 1; Li et al. 2018 (JMLR 18), Algorithm 1.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from workers.protocol import AnyPruner, Hyperband, MedianStopping, NoPruner, Scheduled

REPORTS = 20
"""How often median stopping compares, in a whole run."""


def rungs(pruner: AnyPruner, steps: int) -> list[int]:
    """Return the steps at which losers may stop, all below `steps`.

    Successive halving counts from the first rung, min_steps · reduction^k, Hyperband from the
    end, steps / reduction^k.
    """
    if isinstance(pruner, Hyperband):
        return sorted(_from_the_end(pruner, steps))
    if isinstance(pruner, NoPruner):
        return []
    if isinstance(pruner, MedianStopping):
        return list(range(pruner.min_steps, steps, math.ceil(steps / REPORTS)))
    found = []
    rung = pruner.min_steps
    while rung < steps:
        found.append(rung)
        rung *= pruner.reduction
    return found


def _from_the_end(pruner: Hyperband, steps: int) -> Iterable[int]:
    power = pruner.reduction
    while steps >= pruner.min_steps * power:
        yield math.ceil(steps / power)
        power *= pruner.reduction


def fewest(pruner: AnyPruner, steps: int, rivals: int | None = None) -> int:
    """Return how many rows a population needs so that as many are compared with each other.

    By default `reduction`, of which one goes on; of 2 one is stopped. 1 for a pruner that does not
    compare the rows of a population.
    """
    if isinstance(pruner, NoPruner | Scheduled) or not rungs(pruner, steps):
        return 1
    rows = rivals = rivals or pruner.reduction
    while Pruning(pruner, steps, range(rows)).rivals < rivals:
        rows += 1
    return rows


def losers(scores: Mapping[int, float], entered: int, rung: int, reduction: int) -> set[int]:
    """Return who stops at a rung.

    Args:
        scores: of those still running, by candidate; smaller is better.
        entered: how many began; whoever diverged since counts as a loser already.
        rung: 0 for the first.
        reduction: of how many one goes on.

    Returns:
        All but the best ceil(entered / reduction^(rung + 1)); of equals the earlier stays.
    """
    places = max(1, math.ceil(entered / reduction ** (rung + 1)))
    ranked = sorted(scores, key=lambda each: (scores[each], each))
    return set(ranked[places:])


class Pruning:
    """Who of a population is compared with whom, and stops where."""

    def __init__(self, pruner: AnyPruner, steps: int, families: Collection[int]) -> None:
        """Divide families, all that enter, into brackets; successive halving has but one.

        Neighbours among the families come into one bracket, and the first bracket, which stops
        most of its rows, is the largest.
        """
        self.rungs = rungs(pruner, steps)
        self.scheduled = isinstance(pruner, Scheduled)
        """Whether those that stop are chosen elsewhere, among more than a population."""

        self._reduction = getattr(pruner, "reduction", 1)
        shares = [1.0]
        if isinstance(pruner, Hyperband):
            most = len(self.rungs)
            shares = [
                math.ceil((most + 1) * pruner.reduction**s / (s + 1)) for s in range(most, -1, -1)
            ]
        ends, whole = [sum(shares[: b + 1]) for b in range(len(shares))], sum(shares)
        entered = sorted(families)
        self._brackets: dict[int, int] = {}
        for place, family in enumerate(entered):
            at = (place + 0.5) / len(entered) * whole
            self._brackets[family] = next(b for b, end in enumerate(ends) if at < end)

    @property
    def rivals(self) -> int:
        """Return how many are compared in the largest bracket; Hyperband's last compares none."""
        compared = (own for own in self._brackets.values() if own < len(self.rungs))
        return max(Counter(compared).values(), default=0)

    def losers(self, scores: Mapping[int, float], rung: int) -> set[int]:
        """Return who of those still running stops at a rung; smaller scores are better.

        A bracket's first rung is the population's of the same number.
        """
        gone: set[int] = set()
        for bracket in range(min(rung, max(self._brackets.values())) + 1):
            rivals = {f: score for f, score in scores.items() if self._brackets[f] == bracket}
            entered = sum(own == bracket for own in self._brackets.values())
            gone |= losers(rivals, entered, rung - bracket, self._reduction)
        return gone
