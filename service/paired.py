"""What counts between two optimizers, and the exact signed-rank test of their paired figures."""

from collections.abc import Iterable, Mapping, Sequence

TEST = "Wilcoxon signed-rank test, exact, two-sided"


def counted(metric: str, told: Iterable[Mapping[str, float]]) -> str:
    """Return the metric that counts: the test split's, where all that is told has it.

    What chose the learning rates is flattered by the choice; the test split is not.
    """
    unread = metric.replace("validation_", "test_", 1)
    return unread if all(unread in metrics for metrics in told) else metric


def signed_rank(differences: Sequence[float]) -> float:
    """Return the p-value of these paired differences being symmetric around zero.

    Differences of zero are left out and equal ones share their ranks, as Wilcoxon 1945
    ("Individual comparisons by ranking methods") has it. The p-value is counted over all 2^n signs
    of the n ranks, so it is exact with shared ranks too, and never below 2^(1-n); 1 where no
    difference is left.
    """
    left = sorted((d for d in differences if d != 0.0), key=abs)
    # Twice the ranks: shared ones are halves.
    ranks: list[int] = []
    while len(ranks) < len(left):
        first = len(ranks)
        same = sum(abs(d) == abs(left[first]) for d in left)
        ranks += [2 * first + same + 1] * same
    ways = [1] + [0] * sum(ranks)
    for rank in ranks:
        ways = [
            count + (ways[total - rank] if total >= rank else 0) for total, count in enumerate(ways)
        ]
    positive = sum(rank for rank, d in zip(ranks, left, strict=True) if d > 0)
    tail = min(sum(ways[: positive + 1]), sum(ways[positive:]))
    return min(1.0, 2 * tail / (1 << len(ranks)))
