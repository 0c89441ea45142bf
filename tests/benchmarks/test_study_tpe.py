"""The study of TPE, small: real trials, the points of plain Optuna, populations counted whole."""

import math

from tests.benchmarks.study_tpe import Search, run


def test_a_population_of_one_asks_what_plain_optuna_asks() -> None:
    [found], [chance] = run(range(1), 14, steps=5, populations=(1,))
    assert len(found.losses) == len(chance.losses) == 14
    assert found.equal == 14
    assert found.losses[:10] != chance.losses[:10]
    assert len(set(found.losses)) == 14


def test_a_population_counts_whole() -> None:
    search = Search(4, 0, (5.0, 4.0, 3.0, 6.0, 2.0, 1.0), (0.5, 0.75), 0)
    assert search.reached(4.0) == (4, 0.5)
    assert search.reached(2.0) == (6, 0.75)
    assert search.reached(0.9) == (math.inf, math.inf)
