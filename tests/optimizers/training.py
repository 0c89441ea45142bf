"""Training a few weights with RuleOptimizer, in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dsl.candidate import ScheduleSpec
from optimizers.rule import RuleOptimizer
from optimizers.schedules import multipliers

Gradient = Callable[[list[np.ndarray]], list[np.ndarray]]


def parameters(start: Sequence[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(w.copy()).requires_grad_() for w in start]


def train(
    make: Callable[[list[torch.Tensor]], Optimizer],
    gradient: Gradient,
    start: Sequence[np.ndarray],
    steps: int = 50,
    etas: Sequence[float] | None = None,
) -> list[np.ndarray]:
    """Return the weights after `steps` steps; `etas` multiply the learning rate."""
    params = parameters(start)
    optimizer = make(params)
    scheduler = LambdaLR(optimizer, lambda t: etas[min(t, steps - 1)]) if etas else None
    for _ in range(steps):
        grads = gradient([p.detach().numpy() for p in params])
        for p, g in zip(params, grads, strict=True):
            p.grad = torch.from_numpy(g)
        optimizer.step()
        if scheduler:
            scheduler.step()
    return [p.detach().numpy() for p in params]


def train_named(
    name: str,
    lr: float,
    gradient: Gradient,
    start: Sequence[np.ndarray],
    steps: int = 50,
    schedule: str | None = None,
    total_steps: int | None = None,
    **options: Any,
) -> list[np.ndarray]:
    """Train with an optimizer of the catalogue."""
    etas = multipliers(ScheduleSpec(name=schedule), steps) if schedule else None
    total = total_steps or steps
    return train(
        lambda params: RuleOptimizer.named(name, params, lr, total_steps=total, **options),
        gradient, start, steps, etas,
    )  # fmt: skip
