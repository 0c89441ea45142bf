"""The behavioural fingerprint: one name for all rules that do the same.

A rule is stepped along a fixed probe, and the updates are rounded and hashed. Rules with equal
fingerprints are the same rule for a trainer; looking one up takes constant time. It sees what
algebra does not (`exp(a) * exp(b)` and `exp(a + b)`), and algebra (`dsl.canonical`) what rounding
hides, so both are used.
"""

import hashlib
from functools import cache, lru_cache

import torch

from dsl.canonical import canonical_text
from dsl.compile import compile_rule
from dsl.program import resolve
from dsl.randomness import Draw, normal
from dsl.text import parse

__all__ = ["fingerprint"]

_STEPS = 12
_SEED = 1709
_DIGITS = 7
"""Digits that count; rounding errors of equal rules are some 1e7 times smaller."""
_NOTHING = 1e-13
"""What is smaller, relative to the largest update, is a rounding error of 0."""


@cache
def _probe() -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients and weights, [steps, 16] each, float64.

    One coordinate for each order of magnitude from 1e-6 to 3, signs that persist and signs that
    flip, and one whose gradient is 0 for half of the steps and at the start.
    """
    like = torch.empty(_STEPS, 16, dtype=torch.float64)
    scale = torch.logspace(-6.0, 0.5, 16, dtype=torch.float64)
    drift = torch.linspace(-1.5, 1.5, 16, dtype=torch.float64)
    gradients = scale * (normal(Draw(_SEED, 0), 0, like) + drift)
    gradients[::2, 11] = 0.0
    weights = normal(Draw(_SEED, 1), 0, like) + 0.5
    return gradients, weights


@lru_cache(maxsize=65536)
def fingerprint(text: str, *, scale_free: bool = True) -> str:
    """Return 16 hexadecimal digits that equal rules share.

    Args:
        text: The rule, taken with its hyperparameters' defaults.
        scale_free: Rules that differ by a positive constant factor are equal, as they are where
            the learning rate is tuned.

    Raises:
        RuleError: The text is no rule, or one that the checks refuse.
    """
    form = canonical_text(text)
    updates = _trajectory(form)
    finite = updates[updates.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    if scale_free and largest > 0.0:
        updates = updates / largest
        largest = 1.0
    updates = torch.where(updates.abs() <= _NOTHING * largest, 0.0, updates)
    written = " ".join(f"{value + 0.0:.{_DIGITS - 1}e}" for value in updates.flatten().tolist())
    said = f"{written} {_probabilities(form)}" if "drop" in form else written
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _probabilities(text: str) -> list[float | None]:
    """Return the probabilities of a rule's drops, which a short probe cannot tell apart."""
    program = resolve(parse(text))
    values = (program.graph.values[index] for index in program.order)
    drops = [value.arguments[1] for value in values if value.operator == "drop"]
    return sorted((program.graph.literal(p) for p in drops), key=repr)


def _trajectory(text: str) -> torch.Tensor:
    """Step a rule along the probe; return its updates [steps, 16]."""
    rule = compile_rule(text)
    gradients, weights = _probe()
    state = rule.initial_state(gradients[0])
    memory: dict[str, float] = {}
    updates = []
    for step, (g, w) in enumerate(zip(gradients, weights, strict=True)):
        scalars = rule.scalars(step, _STEPS, rule.hyperparameters, memory)
        updates.append(rule.update(g, w, state, scalars, Draw(_SEED, step)).clone())
    return torch.stack(updates)
