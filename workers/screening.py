"""Judging a rule without training it."""

from typing import Any

import torch

from dsl.candidate import Candidate
from dsl.compile import compile_rule
from dsl.randomness import Draw
from workers.rows import hyperparameters

STEPS, SIZE = 4, 64


def _fault_of_update(candidate: Candidate) -> str | None:
    """Step on fixed pseudo-gradients, as they come early in training, and look at the update."""
    generator = torch.Generator().manual_seed(0)
    weights = 0.1 * torch.randn(1, SIZE, generator=generator)
    mean = 0.02 * torch.randn(1, SIZE, generator=generator)
    device = weights.device
    compiled = compile_rule(candidate.rule)
    held = hyperparameters([candidate], device)
    memory: dict[Any, Any] = {}
    state = [torch.full((1, SIZE), slot.initial) for slot in compiled.slots]
    seeds = torch.zeros(1, 1, dtype=torch.int64)
    for step in range(STEPS):
        gradients = mean + 0.02 * torch.randn(1, SIZE, generator=generator)
        scalars = compiled.scalars(step, 100, held, memory)
        update = compiled.update(gradients, weights, state, scalars, Draw(seeds, step))
        if not bool(torch.isfinite(update).all()):
            return f"the update is not finite at step {step} of a probe"
    update = update.expand(1, SIZE)
    if bool((update == 0).all()):
        return "the update is zero on a probe"
    if bool((update == update[:, :1]).all()):
        return "the update is the same for every weight of a probe"
    return None


def fault(candidate: Candidate) -> str | None:
    """Return why a candidate need not be trained, or None.

    Faults: the rule does not parse or fails the language's checks; a hyperparameter that it does
    not have; on a small probe the update is not finite, zero, or equal for all weights.
    """
    try:
        return _fault_of_update(candidate)
    except ValueError as error:  # a RuleError is one
        return str(error)
