import pytest

from search.space import Categorical, Float, Int, SearchSpace
from search.warm_start import KnownTrial, fits

SPACE: SearchSpace = {
    "lr": Float(low=0.01, high=0.1, log=True),
    "kind": Categorical(choices=("plain", "decaying")),
    "gamma": Float(low=0.5, high=1.0, when={"kind": ("decaying",)}),
    "k": Int(low=2, high=8, step=2, when={"kind": ("plain",)}),
}


@pytest.mark.parametrize(
    ("point", "fit"),
    [
        ({"lr": 0.05, "kind": "decaying", "gamma": 0.9}, True),
        ({"lr": 0.05, "kind": "plain", "k": 4}, True),
        ({"lr": 0.5, "kind": "plain", "k": 4}, False),
        ({"lr": 0.05, "kind": "plain", "k": 3}, False),
        ({"lr": 0.05, "kind": "cyclic", "k": 4}, False),
        ({"lr": 0.05, "kind": "plain", "gamma": 0.9}, False),
        ({"lr": 0.05, "kind": "decaying", "gamma": 0.9, "k": 4}, False),
        ({"lr": 0.05, "kind": "plain", "k": 4, "beta": 0.9}, False),
        ({"lr": 0.05, "kind": "decaying"}, False),
    ],
)
def test_a_point_fits_where_the_space_could_have_given_it(
    point: dict[str, float | int | str], fit: bool
) -> None:
    assert fits(KnownTrial(parameters=point, value=0.5), SPACE) is fit
