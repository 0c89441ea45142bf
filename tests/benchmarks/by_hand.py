"""Lion, PowerSign and AddSign as a person writes them who lacks them in torch: small loops.

The peers of the benchmarks train with these where `torch.optim` has no such optimizer, so that
nothing of this project runs on the other side of a comparison.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class ByHand(torch.optim.Optimizer):
    """An optimizer that keeps one average of the gradient for each parameter."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, **settings: float) -> None:
        """Keep the settings, which are the rule's hyperparameters."""
        super().__init__(params, {"lr": lr, **settings})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                self.move(weight, weight.grad, state["average"], group)

    @abstractmethod
    def move(self, weight: Tensor, grad: Tensor, average: Tensor, group: dict[str, Any]) -> None:
        """Change one parameter and its average in place."""


class Lion(ByHand):
    """Chen et al. 2023, arXiv:2302.06675, Alg. 2; settings beta1, beta2, weight_decay."""

    def move(self, weight: Tensor, grad: Tensor, average: Tensor, group: dict[str, Any]) -> None:
        """See `ByHand.move`."""
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        update = average.mul(group["beta1"]).add_(grad, alpha=1 - group["beta1"]).sign_()
        weight.add_(update, alpha=-group["lr"])
        average.lerp_(grad, 1 - group["beta2"])


class PowerSign(ByHand):
    """Bello et al. 2017, arXiv:1709.07417, section 5, base e; setting beta."""

    def move(self, weight: Tensor, grad: Tensor, average: Tensor, group: dict[str, Any]) -> None:
        """See `ByHand.move`."""
        average.lerp_(grad, 1 - group["beta"])
        factor = grad.sign().mul_(average.sign()).exp_()
        weight.addcmul_(factor, grad, value=-group["lr"])


class AddSign(ByHand):
    """Bello et al. 2017, section 5, alpha 1; setting beta."""

    def move(self, weight: Tensor, grad: Tensor, average: Tensor, group: dict[str, Any]) -> None:
        """See `ByHand.move`."""
        average.lerp_(grad, 1 - group["beta"])
        factor = grad.sign().mul_(average.sign()).add_(1)
        weight.addcmul_(factor, grad, value=-group["lr"])
