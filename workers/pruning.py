"""Successive halving inside a population (Jamieson & Talwalkar 2016, Algorithm 1)."""

import math
from collections.abc import Mapping

from workers.protocol import PrunerSettings, SuccessiveHalving


def rungs(pruner: PrunerSettings, steps: int) -> list[int]:
    """Return the steps at which losers stop: min_steps · reduction^k, all below `steps`."""
    if not isinstance(pruner, SuccessiveHalving):
        return []
    found = []
    rung = pruner.min_steps
    while rung < steps:
        found.append(rung)
        rung *= pruner.reduction
    return found


def losers(
    scores: Mapping[int, float], entered: int, rung: int, pruner: SuccessiveHalving
) -> set[int]:
    """Return who stops at a rung.

    Args:
        scores: of those still running, by candidate; smaller is better.
        entered: how many began; whoever diverged since counts as a loser already.
        rung: 0 for the first.
        pruner: with its reduction.

    Returns:
        All but the best ceil(entered / reduction^(rung + 1)); of equals the earlier stays.
    """
    places = max(1, math.ceil(entered / pruner.reduction ** (rung + 1)))
    ranked = sorted(scores, key=lambda each: (scores[each], each))
    return set(ranked[places:])
