"""How alike two rules are: the angle between what they do in a run of training.

Equal rules have one fingerprint (`dsl.fingerprint`). A search also finds rules that differ and are
the same in all that counts: `sign(m)` and `sign(m) + clip(w, 0.0001)`. Their updates, one after the
other for every weight, are vectors that point the same way.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import torch

from dsl.compile import compile_rule
from dsl.operators import OPERATORS, Kind
from dsl.program import Program
from dsl.randomness import Draw, normal, uniform
from dsl.validate import program_of

__all__ = ["course", "likeness"]

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
    rule = compile_rule(text)
    update = rule.bind(**_draws(program_of(text))) if rule.uses_randomness else rule.update
    numbers = rule.hyperparameters | dict(given)
    gradients, weights = _run()
    state = rule.initial_state(gradients[0])
    memory: dict[str, Any] = {}
    updates = []
    for t, (g, w) in enumerate(zip(gradients, weights, strict=True)):
        scalars = rule.scalars(t, STEPS, numbers, memory)
        updates.append(update(g, w, state, scalars, Draw(SEED, t)).expand(g.shape).clone())
    found = torch.stack(updates).flatten()
    largest = found.abs().max()
    if not largest.isfinite() or largest == 0.0:
        return None
    found /= largest  # lest the sum of squares overflow
    direction: torch.Tensor = found / found.norm()
    return direction.float()


def _draws(program: Program) -> dict[str, Callable[..., torch.Tensor]]:
    """Return random draws that depend on how many drops they go through, not on their number.

    Else `drop(g, 0.5)` would have another mask beside a `drop` that does not count.
    """
    graph, levels = program.graph, dict[int, int]()
    drawn = []
    for index in program.order:
        value = graph.values[index]
        row = OPERATORS.get(value.operator)
        random = row is not None and row.kind is Kind.RANDOM
        below = max((levels[argument] for argument in value.arguments), default=0)
        levels[index] = below + random
        drawn += [below] * random
    return {
        function.__name__: lambda draw, number, like, function=function: _drawn(
            function, drawn[number]
        )[draw.t].expand(like.shape)
        for function in (uniform, normal)
    }


@lru_cache(maxsize=64)
def _drawn(function: Callable[..., torch.Tensor], number: int) -> torch.Tensor:
    """Return the random numbers of a whole run, [steps, weights] float64."""
    like = _run()[0][0]
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
