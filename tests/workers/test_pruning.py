from workers.protocol import NoPruner, SuccessiveHalving
from workers.pruning import losers, rungs


def test_rungs_are_powers_below_the_end() -> None:
    assert rungs(SuccessiveHalving(reduction=3, min_steps=10), 300) == [10, 30, 90, 270]
    assert rungs(SuccessiveHalving(reduction=3, min_steps=10), 270) == [10, 30, 90]
    assert rungs(SuccessiveHalving(min_steps=300), 300) == []
    assert rungs(NoPruner(), 300) == []


def test_only_the_best_go_on() -> None:
    halving = SuccessiveHalving(reduction=3)
    scores = {each: float(-each) for each in range(9)}
    assert losers(scores, 9, 0, halving) == {0, 1, 2, 3, 4, 5}
    assert losers({6: 0.1, 7: 0.2, 8: 0.3}, 9, 1, halving) == {7, 8}


def test_those_that_diverged_count_as_losers_and_one_always_stays() -> None:
    halving = SuccessiveHalving(reduction=2)
    assert losers({1: 0.5, 2: 0.1}, 4, 0, halving) == set()
    assert losers({1: 0.5, 2: 0.1}, 2, 5, halving) == {1}
    assert losers({1: 0.5, 2: 0.5}, 2, 0, halving) == {2}
