"""How alike two rules are: the angle between what they do in a run of training.

Equal rules have one fingerprint (`dsl.fingerprint`). A search also finds rules that differ and are
the same in all that counts: `sign(m)` and `sign(m) + clip(w, 0.0001)`. Their updates, one after the
other for every weight, are vectors that point the same way.
"""

import math
from functools import cache, lru_cache
from typing import Any

import torch

from dsl.compile import compile_rule
from dsl.randomness import Draw, normal, uniform

__all__ = ["course", "likeness"]

STEPS, WEIGHTS = 48, 192
"""Length of the run, which is the rule's total T, and weights that are trained in it."""

SEED = 1906

_WEIGHT, _GRADIENT = 0.1, 0.01
"""The usual size of a weight; of a gradient, up to a factor of ten."""


def likeness(one: str, other: str) -> float:
    """Return the cosine of the angle between two rules' updates, NaN where one has no course.

    A positive factor does not count, as it does not where the learning rate is tuned. A schedule
    does: `g * ld` is 0.87 like `g`.

    Raises:
        RuleError: a text is no rule.
    """
    a, b = course(one), course(other)
    return math.nan if a is None or b is None else float(a @ b)


@lru_cache(maxsize=4096)
def course(text: str) -> torch.Tensor | None:
    """Return a rule's updates along a run as a vector of length 1, float32 [steps * weights].

    None where they are not finite, or all 0.

    Raises:
        RuleError: the text is no rule.
    """
    rule = compile_rule(text)
    gradients, weights = _run()
    state = rule.initial_state(gradients[0])
    memory: dict[str, Any] = {}
    updates = []
    for t, (g, w) in enumerate(zip(gradients, weights, strict=True)):
        scalars = rule.scalars(t, STEPS, rule.hyperparameters, memory)
        updates.append(rule.update(g, w, state, scalars, Draw(SEED, t)).expand(g.shape).clone())
    found = torch.stack(updates).flatten()
    largest = found.abs().max()
    if not largest.isfinite() or largest == 0.0:
        return None
    found /= largest  # lest the sum of squares overflow
    direction: torch.Tensor = found / found.norm()
    return direction.float()


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
