"""What counts, and the exact Wilcoxon test against scipy's and against all signs one by one."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon  # type: ignore[import-untyped]

from service.paired import counted, signed_rank


@pytest.mark.parametrize("count", [1, 2, 5, 13, 50])
def test_without_ties_it_is_scipys(count: int) -> None:
    draw = np.random.default_rng(count)
    for shift in (0.0, 0.7):
        differences = draw.normal(shift, 1.0, count)
        expected = wilcoxon(differences, method="exact").pvalue
        assert signed_rank(differences.tolist()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "differences",
    [[0.1, -0.1, 0.2, 0.2, 0.3], [1, 1, 1, -1, -1, 2], [0.0, 0.5, 0.0, -0.25, 0.25, 0.5]],
)
def test_shared_ranks_are_counted_over_all_signs(differences: list[float]) -> None:
    left = np.array([d for d in differences if d])
    ranks = rankdata(abs(left))
    sums = np.array([sum(ranks[np.array(s)]) for s in product((True, False), repeat=len(left))])
    mine = ranks[left > 0].sum()
    expected = min(1.0, 2 * min((sums <= mine).mean(), (sums >= mine).mean()))
    assert signed_rank(differences) == pytest.approx(expected, rel=1e-12)


def test_what_cannot_differ_does_not() -> None:
    assert signed_rank([]) == signed_rank([0.0, 0.0]) == signed_rank([0.1]) == 1.0
    assert signed_rank([-0.1] * 5) == signed_rank([0.1] * 5) == 2 / 2**5
    assert signed_rank([1.0] * 64) == 2 / 2**64


def test_the_test_split_counts_where_all_have_it() -> None:
    read, unread = {"validation_loss": 1.0, "test_loss": 2.0}, {"validation_loss": 1.0}
    assert counted("validation_loss", [read, read]) == "test_loss"
    assert counted("validation_loss", [read, unread]) == "validation_loss"
    assert counted("train_loss", [{"train_loss": 1.0}]) == "train_loss"
