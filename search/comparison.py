"""After a search: the best rules beside the baselines, judged anew with seeds it never saw.

Those that stay best there climb on: to tasks that the search never saw, and to long runs.
"""

from collections.abc import Sequence

from dsl.candidate import Candidate, Stage
from search.funnel import Level, WithLevel
from search.settings import Objective
from search.strategy import Strategy

DISTANCE = 10_000
"""How far the comparison's first seed lies from the search's; no protocol has that many seeds."""

YARDSTICK = "adamw"
"""The baseline that all are tested against, and the one that is trained for long too."""

Baselines = Sequence[tuple[str, Candidate]]


def fresh_seed(seed: int) -> int:
    """Return the first seed of the comparison after a search from `seed`, below 2^31 as it is."""
    return seed + DISTANCE if seed + 2 * DISTANCE < 2**31 else seed - DISTANCE


class WithComparison(WithLevel):
    """The first level: the best of the search beside the baselines, with fresh seeds."""

    def __init__(
        self, inner: Strategy, objective: Objective, top: int, baselines: Baselines, seed: int
    ) -> None:
        """Compare the `top` rules that `inner` finds with labelled baselines.

        `seed` is the first seed that the search's own candidates train with.
        """
        level = Level(
            Stage.COMPARISON, Stage.SEARCH, top, tuple(baselines), fresh_seed(seed), (None,)
        )
        super().__init__(inner, objective, level)


def climbing(comparison: WithComparison, count: int, tasks: Sequence[str], long: bool) -> WithLevel:
    """Return the comparison with the levels above it.

    Args:
        comparison: Whose best rules climb.
        count: How many, to each level.
        tasks: The unseen tasks, on which all baselines are judged too; none for no such level.
        long: Whether there is a level of long runs, beside the yardstick alone.
    """
    first, objective = comparison.level, comparison.objective
    top: WithLevel = comparison
    if tasks:
        unseen = Level(
            Stage.UNSEEN, Stage.COMPARISON, count, first.baselines, first.seed, tuple(tasks)
        )
        top = WithLevel(top, objective, unseen)
    if long:
        yardstick = tuple(entry for entry in first.baselines if entry[0] == YARDSTICK)
        top = WithLevel(
            top, objective, Level(Stage.LONG, Stage.COMPARISON, count, yardstick, first.seed)
        )
    return top
