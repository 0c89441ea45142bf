"""Does a rule act on whether the gradient and its average agree in sign, as PowerSign does?

Bello et al. 2017, section 5: PowerSign multiplies the gradient by e where the signs of g and of
its moving average agree and by 1/e where they do not, AddSign by 2 and by 0. What they share is
behaviour: with |g| and the average as they are, the update is larger by a factor where g points as
its average does, however large g is beside it. A sum such as m + g does so, too, but only where g
and m are of like size; that tells them apart.
"""

import math
from typing import Any

import torch

from dsl.compile import compile_rule
from dsl.randomness import Draw

__all__ = ["SIZES", "acts_on_agreement", "agreement"]

SIZES = (0.125, 0.5, 1.0, 2.0, 4.0)
"""The last gradient beside the ones before it. At 4 against it, an average that weighs the past by
0.9 keeps its sign."""

LEAST = 2.0
"""The factor that counts: PowerSign's is e^2, AddSign's infinite, for m + g it falls to 1.3."""

STEPS, TOTAL, COPIES, USUAL = 40, 10_000, 128, 0.1
"""Steps before the last one, of how many; weights with the same gradients, so that what a rule
draws at random is averaged out; the usual size of a gradient."""


def agreement(text: str) -> tuple[float, ...]:
    """Return how much larger updates are where g agrees in sign with its past, for each of `SIZES`.

    A ratio of mean absolute updates, the lesser of those for a positive and a negative past: a rule
    that leans to one side, as sign(g) + sign(m) + 1 does, is larger on agreement there alone. It
    is infinite where there is no update on disagreement, NaN where there is none at all, or one
    that is not finite or points against both g and its past.

    Raises:
        RuleError: the text is no rule.
    """
    rule = compile_rule(text)
    generator = torch.Generator().manual_seed(0)
    # [agrees or not, size, copy], flattened: the rule sees one tensor of weights
    shape = (2, len(SIZES), COPIES)
    past = torch.ones(shape)
    past[..., COPIES // 2 :] = -1.0
    sizes = torch.tensor(SIZES)[None, :, None]
    last = past * sizes * torch.tensor([1.0, -1.0])[:, None, None]
    weights = (0.1 * torch.randn(shape[1:], generator=generator)).expand(shape).reshape(-1)
    state = rule.initial_state(weights)
    memory: dict[str, Any] = {}
    for t in range(STEPS + 1):
        spread = 0.5 + torch.rand(shape[1:], generator=generator)
        gradients = USUAL * (last if t == STEPS else past * spread)
        scalars = rule.scalars(t, TOTAL, rule.hyperparameters, memory)
        update = rule.update(gradients.reshape(-1), weights, state, scalars, Draw(0, t))
    # [agrees or not, size, positive or negative past], means over copies
    sided = (2, len(SIZES), 2, COPIES // 2)
    update = update.expand(weights.shape).reshape(sided)
    along = (update * past.reshape(sided)).mean(dim=3)[0]
    agrees, disagrees = update.abs().mean(dim=3)
    sound = (along > 0) & agrees.isfinite() & disagrees.isfinite()
    ratios = torch.where(sound, agrees / disagrees, math.nan)
    # the lesser of two ratios, NaN if either is
    return tuple(ratios.amin(dim=1).tolist())


def acts_on_agreement(text: str) -> bool:
    """Tell whether a rule behaves as PowerSign, AddSign or a gate by the signs' agreement."""
    return all(ratio >= LEAST for ratio in agreement(text))
