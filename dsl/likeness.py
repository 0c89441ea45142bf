"""How alike two rules are: the angle between what they do in a run of training.

Equal rules have one fingerprint (`dsl.fingerprint`). A search also finds rules that differ and are
the same in all that counts: `sign(m)` and `sign(m) + clip(w, 0.0001)`. Their updates, one after the
other for every weight, are vectors that point the same way.
"""

import math
from collections.abc import Mapping
from functools import cache, lru_cache

import torch

from dsl.randomness import Draw, normal, uniform
from dsl.trajectory import Way, trajectory
from dsl.validate import program_of

__all__ = ["course", "likeness", "way"]

STEPS, WEIGHTS = 64, 96
"""Length of the run, which is the rule's total T, and weights that are trained in it."""

SEED = 1906

_WEIGHT, _GRADIENT = 0.1, 0.01
"""The usual size of a weight; of a gradient, up to a factor of ten."""


def likeness(one: str, other: str) -> float:
    """Return the cosine of the angle between two rules' updates, NaN where one has no course.

    A positive factor does not count, as it does not where the learning rate is tuned. A schedule
    does: `g * ld` is 0.86 like `g`. What is longer than the run hardly does: `ema(g, 0.99)` is 0.96
    like `ema(g, 0.95)`, but 0.997 like `ema(g, 0.999)`.

    Raises:
        RuleError: a text is no rule.
    """
    a, b = course(one), course(other)
    return math.nan if a is None or b is None else float(a @ b)


def course(text: str, hyperparameters: Mapping[str, float] | None = None) -> torch.Tensor | None:
    """Return a rule's updates along a run as a vector of length 1, float32 [steps * weights].

    None where they are not finite, or all 0.

    Args:
        text: The rule.
        hyperparameters: Values for its hyperparameters; those not named have their defaults.

    Raises:
        RuleError: the text is no rule.
    """
    return _course(text, tuple(sorted((hyperparameters or {}).items())))


@lru_cache(maxsize=512)  # 25 kB each
def _course(text: str, given: tuple[tuple[str, float], ...]) -> torch.Tensor | None:
    found = trajectory(program_of(text), text, way(), dict(given)).updates.flatten()
    largest = found.abs().max()
    if not largest.isfinite() or largest == 0.0:
        return None
    found = found / largest  # lest the sum of squares overflow
    direction: torch.Tensor = found / torch.linalg.vector_norm(found)
    return direction.float()


@cache
def way() -> Way:
    """Return what rules are stepped along.

    Draws are numbered by nesting: else `drop(g, 0.5)` would have another mask beside a `drop` that
    does not count.
    """
    return Way(*_run(), times=tuple(range(STEPS)), total=STEPS, numbers=_drawn, nested=True)


@lru_cache(maxsize=64)
def _drawn(name: str, number: int) -> torch.Tensor:
    """Return the random numbers of a whole run, [steps, weights] float64."""
    function, like = {"uniform": uniform, "normal": normal}[name], _run()[0][0]
    return torch.stack([function(Draw(SEED, t), number, like) for t in range(STEPS)])


@cache
def _run() -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients and weights, [steps, weights] each, float64, as training has them.

    From weight to weight the mean of the gradient is nothing beside its noise, or twice as much,
    and turns never, once or twice; sizes are spread over two orders of magnitude; weights drift.
    """
    like = torch.empty(STEPS, WEIGHTS, dtype=torch.float64)
    place = torch.arange(WEIGHTS, dtype=torch.float64)
    time = torch.linspace(0.0, 1.0, STEPS, dtype=torch.float64).unsqueeze(1)
    shift = uniform(Draw(SEED, 1), 0, like[0])
    mean = (place % 5) / 2.0 * torch.cos(2.0 * math.pi * ((place % 3) / 2.0 * time + shift))
    size = _GRADIENT * 10.0 ** (2.0 * uniform(Draw(SEED, 2), 0, like[0]) - 1.0)
    gradients = size * (mean + normal(Draw(SEED, 3), 0, like))
    start = _WEIGHT * normal(Draw(SEED, 4), 0, like[0])
    weights = start - _WEIGHT / STEPS * gradients.cumsum(0) / size
    return gradients, weights
