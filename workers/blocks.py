"""Rows of a stack on which the model is stepped at once."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from workers.batches import Batches
from workers.ground import Ground
from workers.module_draws import measuring, training
from workers.tasks.task import Split

APART = 8
"""Rows of a seed that are worth a block of their own, which shares every batch."""


class Block:
    """Consecutive rows of a stack: all of one seed, which share every batch, or of any seeds.

    Attributes:
        span: which rows of the stack they are.
    """

    def __init__(self, ground: Ground, seeds: Sequence[int], start: int) -> None:
        """Prepare the batches and the module's draws of rows with these seeds."""
        protocol = ground.protocol
        self._ground, self.span = ground, range(start, start + len(seeds))
        self._batches = Batches(
            ground.data.split("train"), seeds, protocol.batch_size, protocol.steps
        )
        self._draws = ground.draws(seeds, stacked=True)

    def place(self, weights: Tensor, gradients: Tensor, buffers: Mapping[str, Tensor]) -> None:
        """Take the rows' parts of the stack's tensors [rows, ...]."""
        rows, layout = slice(self.span.start, self.span.stop), self._ground.layout
        self._parameters = layout.views(weights[rows])
        self._gradients = layout.views(gradients[rows])
        self._buffers = {name: value[rows] for name, value in buffers.items()}

    def step(self, step: int) -> Tensor:
        """Write the gradients of step `step` (from 0) and return the losses [rows]."""
        with training(self._draws, step):
            return self._ground.model.step(
                self._parameters,
                self._buffers,
                self._batches.at(step),
                shared=self._batches.shared,
                gradients=self._gradients,
            )

    def measure(self, split: Split, step: int) -> dict[str, Tensor]:
        """Return the metrics of a split after `step` steps, each [rows]."""
        examples = self._ground.data.split(split)
        with measuring(self._draws, step):
            return self._ground.model.measure(self._parameters, self._buffers, examples)

    def keep(self, rows: Sequence[int], start: int) -> None:
        """Keep only the rows with these indices within it, from row `start` of the stack on."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._ground.device)
        self.span = range(start, start + len(rows))
        self._batches.keep(index)
        if self._draws:
            self._draws.keep(index)


def arranged(seeds: Sequence[int]) -> list[list[int]]:
    """Return which rows make up each block, in their order.

    Two seeds with rows enough get a block each; all other rows make up one.
    """
    sizes = Counter(seeds)
    if len(sizes) == 2 and min(sizes.values()) >= APART:
        return [[row for row, own in enumerate(seeds) if own == seed] for seed in sorted(sizes)]
    return [list(range(len(seeds)))]
