import pytest

from search.sampler_settings import CMAES, TPE, BruteForce, Grid
from search.samplers import distribution, sampler_of, size, values
from search.space import Categorical, Float, Int, SearchSpace


def test_a_grid_holds_all_values_or_so_many_evenly() -> None:
    assert values(distribution(Float(low=0.0, high=1.0)), 3) == [0.0, 0.5, 1.0]
    assert values(distribution(Float(low=1e-4, high=1.0, log=True)), 5) == pytest.approx(
        [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    )
    assert values(distribution(Float(low=0.1, high=0.7, step=0.1)), 10) == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    )
    assert values(distribution(Float(low=0.0, high=1.0, step=0.01)), 3) == [0.0, 0.5, 1.0]
    assert list(values(distribution(Int(low=1, high=8, step=3)), 10)) == [1, 4, 7]
    assert values(distribution(Int(low=0, high=1000, step=2)), 3) == [0, 500, 1000]
    assert values(distribution(Int(low=1, high=1024, log=True)), 3) == [1, 32, 1024]
    assert values(distribution(Categorical(choices=(1, "x"))), 10) == (1, "x")


def test_sizes_count_points_and_not_products_where_parameters_depend() -> None:
    kind = Categorical(choices=("a", "b", "c"))
    space: SearchSpace = {
        "deep": Int(low=1, high=3, when={"width": (2,)}),
        "width": Int(low=1, high=2, when={"kind": ("b",)}),
        "kind": kind,
        "free": Int(low=1, high=2),
    }
    # a and c alone; b with width 1, or with width 2 and three depths; each with two of `free`.
    assert size(BruteForce(), space) == 2 * (2 + 1 + 3)
    assert size(Grid(points=4), {"kind": kind, "lr": Float(low=0.0, high=1.0)}) == 12
    assert size(TPE(), space) is None
    with pytest.raises(ValueError, match="lr has no end of them; give it a step"):
        size(BruteForce(), {"lr": Float(low=0.0, high=1.0)})


def test_a_generation_of_cma_es_is_no_smaller_than_the_population() -> None:
    space = {"lr": distribution(Float(low=0.0, high=1.0))}
    sizes = [
        sampler_of(settings, space, 0, 0, population)._popsize  # type: ignore[attr-defined]
        for settings, population in ((CMAES(), 1), (CMAES(), 20), (CMAES(generation=7), 20))
    ]
    assert sizes == [4, 20, 7]
