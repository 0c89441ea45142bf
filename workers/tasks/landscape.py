"""What tasks without data have in common: a function of a point, and where its minimum lies."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from workers.tasks.task import Examples, Model, Split, Task

NEARBY = 0.1
"""Standard deviation of the starts round the published one."""


class Point(nn.Module):
    """A module whose only parameter is the point, and whose output it is."""

    def __init__(self, start: Tensor) -> None:
        """Begin at `start` [n]."""
        super().__init__()
        self.point = nn.Parameter(start)

    def forward(self) -> Tensor:
        """Return the point, [n]."""
        return self.point


class Landscape(Task):
    """A function to minimise, of known minimum value 0. All splits are the function itself.

    So `train_loss` is the function's mean over the steps since the last measurement and
    `validation_loss` and `test_loss` its value now.
    """

    metrics = ("train_loss", "validation_loss", "validation_distance")

    @abstractmethod
    def value(self, point: Tensor) -> Tensor:
        """Return the function's value, a scalar, at `point` [n]."""

    @abstractmethod
    def minimum(self) -> Tensor:
        """Return where the function is 0, [n]."""

    def examples(self, split: Split) -> Examples:
        """Return no tensors: there is no data."""
        return ()

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the function's value."""
        return self.value(model())

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return `loss`, the function's value, and `distance`, the way to its minimum."""
        point = model()
        away = point - self.minimum().to(point.device, point.dtype)
        return {"loss": self.value(point), "distance": away.square().sum().sqrt()}


class Plane(Landscape):
    """A function of two numbers with a published start.

    Seed 0 starts there, other seeds nearby, so that several seeds tell whether a rule was lucky.
    """

    start: ClassVar[tuple[float, float]]
    lowest: ClassVar[tuple[float, float]]

    def module(self) -> nn.Module:
        """Return the published start."""
        return Point(torch.tensor(self.start))

    def minimum(self) -> Tensor:
        """Return the published minimum, [2]."""
        return torch.tensor(self.lowest)

    def initial(self, seed: int) -> nn.Module:
        """Return the published start for seed 0, else a point drawn round it."""
        module = self.module()
        if seed:
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(torch.randn(2, generator=generator), alpha=NEARBY)
        return module
