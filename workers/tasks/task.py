"""What a task is: data with fixed splits, a model, a loss, and what is measured."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

Split = Literal["train", "validation", "test"]
Examples = tuple[Tensor, ...]
"""Tensors with one row per example, or none for a task without data."""

Model = Callable[..., Tensor]
"""A module with its weights in place: inputs -> outputs."""


class Stacked(Protocol):
    """The training step of many copies of a task's model at once, as one tensor program.

    `weights` and `gradients` map every parameter's name to its values for all rows,
    [rows, *shape]; they are views into the population's flat tensors. Examples are either shared
    by the rows, [batch, ...], or each row has its own, [rows, batch, ...].
    """

    def step(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        batch: Examples,
        *,
        shared: bool,
        gradients: Mapping[str, Tensor],
    ) -> Tensor:
        """Write every row's gradient into `gradients` and return the losses, [rows].

        Buffers (the running statistics of BatchNorm, say) are updated in place.
        """

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        """Return what `Task.measure` returns, for every row, [rows]; examples are shared."""


class Task(ABC):
    """A thing to learn. Its splits are fixed; only weights and batches depend on a seed."""

    name: ClassVar[str]
    description: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]] = ("train_loss", "validation_loss")
    """What an objective may name. Never a test metric: the test split is read once, at the end."""

    @abstractmethod
    def module(self) -> nn.Module:
        """Return a new module, its weights drawn from torch's default generator."""

    @abstractmethod
    def examples(self, split: Split) -> Examples:
        """Return a split's tensors, () for a task without data."""

    @abstractmethod
    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the loss that is trained on, a scalar."""

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return scalars by name; `loss` among them becomes `validation_loss`, `test_loss`."""
        return {"loss": self.loss(model, examples)}

    def stacked(self) -> Stacked | None:
        """Return a training step batched by hand, or None to have the module stacked."""
        return None

    def initial(self, seed: int) -> nn.Module:
        """Return a module whose weights depend on `seed` alone, in float32 on the CPU."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.module()
