"""Which examples a training step sees."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workers.tasks.task import Examples, Split, Task

_MIX = 0x5DEECE66D
"""Keeps the stream of the batches apart from the one that draws the weights."""


_INTEGERS = (torch.int16, torch.int32, torch.int64)


class Data:
    """A task's splits on one device, floating-point tensors in one precision.

    Attributes:
        device: where they are.
        dtype: of the floating-point ones.
    """

    def __init__(self, task: Task, device: torch.device, dtype: torch.dtype) -> None:
        """Take the splits of `task`; none is loaded before it is asked for."""
        self._task, self.device, self.dtype = task, device, dtype
        self._splits: dict[Split, Examples] = {}

    def split(self, name: Split) -> Examples:
        """Return a split's tensors."""
        if name not in self._splits:
            self._splits[name] = tuple(
                value.to(self.device, self.dtype if value.is_floating_point() else None)
                for value in self._task.examples(name)
            )
        return self._splits[name]


def batch_order(
    seed: int, examples: int, batch_size: int, steps: int, dtype: torch.dtype = torch.int64
) -> Tensor:
    """Return the examples' indices for every step, [steps, batch_size].

    Epoch after epoch of random permutations is cut into batches; a batch may lie across two
    epochs. It depends on the seed alone, and a longer run begins with the shorter one's batches.
    """
    generator = torch.Generator().manual_seed(seed ^ _MIX)
    needed = steps * batch_size
    count = -(-needed // examples)
    order = torch.empty(count, examples, dtype=dtype)
    for epoch in order:
        epoch.copy_(torch.randperm(examples, generator=generator))
    return order.view(-1)[:needed].view(steps, batch_size)


class Batches:
    """The batches of rows that may have different seeds; rows of one seed share theirs."""

    def __init__(
        self, examples: Examples, seeds: Sequence[int], batch_size: int, steps: int
    ) -> None:
        """Draw the order of every distinct seed in `seeds`, one seed per row."""
        self._examples = examples
        if not examples:
            self.shared = True
            return
        distinct = sorted(set(seeds))
        count, device = len(examples[0]), examples[0].device
        # a long run has many: they are kept small
        dtype = next(each for each in _INTEGERS if count <= torch.iinfo(each).max)
        orders = [batch_order(seed, count, batch_size, steps, dtype) for seed in distinct]
        self._orders = torch.stack(orders, 1).to(device)
        self._of_row = torch.tensor([distinct.index(seed) for seed in seeds], device=device)
        self.shared = len(distinct) == 1

    def at(self, step: int) -> Examples:
        """Return the batch of step `step`: [batch, ...] if shared, else [rows, batch, ...]."""
        if not self._examples:
            return ()
        order = self._orders[step]
        chosen = order[0] if self.shared else order[self._of_row]
        places = chosen.long()
        return tuple(value[places] for value in self._examples)

    def keep(self, rows: Tensor) -> None:
        """Keep only the rows with these indices."""
        if self._examples:
            self._of_row = self._of_row[rows]
