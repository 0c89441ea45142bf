"""The study of TPE, small: real trials, the points of plain Optuna, populations counted whole."""

import math

from tests.benchmarks.study_tpe import Search, run, swing


def test_a_population_of_one_asks_what_plain_optuna_asks() -> None:
    [found], [chance] = run(range(1), 14, steps=5, populations=(1,))
    assert len(found.losses) == len(chance.losses) == 14
    assert found.equal == 14
    assert found.losses[:10] != chance.losses[:10]
    assert len(set(found.losses)) == 14


def test_more_seeds_are_searched_in_populations_of_one() -> None:
    found, chance = run([0], 10, steps=2, populations=(1, 4), more=[1])
    assert [one.seed for one in chance] == [0, 1]
    assert [(one.population, one.seed) for one in found] == [(1, 0), (4, 0), (1, 1)]


def test_a_population_counts_whole() -> None:
    search = Search(4, 0, (5.0, 4.0, 3.0, 6.0, 2.0, 1.0), (0.5, 0.75), 0)
    assert search.reached(4.0) == (4, 0.5)
    assert search.reached(2.0) == (6, 0.75)
    assert search.reached(0.9) == (math.inf, math.inf)


def test_a_median_swings_by_the_seeds_drawn() -> None:
    assert swing([66.0] * 10) == (66.0, 66.0)
    low, high = swing([20.0] * 4 + [70.0] * 2 + [200.0] * 4)
    assert (low, high) == (20.0, 200.0)
    low, high = swing([60.0, 61.0, 62.0, 63.0, 64.0, 65.0, 66.0, 67.0, 68.0, 300.0])
    assert 61 <= low < 64.5 < high <= 68
