"""Points of a curve that are measured only if the curve is shown.

Of the rates of a grid one is chosen, by what was measured at the end, and only its curve is shown:
the points of the others need not be measured. On small models measuring is a tenth of the time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.ground import Ground
from workers.precision import products
from workers.protocol import NoPruner

KEPT = 64_000_000
"""Bytes of weights that a population keeps at most; where there would be more, none are."""

AT_ONCE = 256
"""Snapshots that are measured at once."""


@dataclass(frozen=True)
class Snapshot:
    """A row at a point of its curve that is not measured yet."""

    ground: Ground
    step: int
    train_loss: float
    weights: Tensor
    """[width], of the layout."""


def affordable(ground: Ground, rows: int, points: int) -> bool:
    """Tell whether points can be measured later.

    That is where no pruner asks for them, where weights are all that a measurement needs, and where
    there is room for so many.
    """
    size = ground.layout.width * ground.dtype.itemsize
    needed = ground.finding.obstacle or ground.finding.draws or ground.buffered
    unpruned = isinstance(ground.protocol.pruner, NoPruner)
    return unpruned and not needed and rows * points * size <= KEPT


def measured(snapshots: Sequence[Snapshot]) -> Iterator[dict[str, float]]:
    """Yield the metrics of snapshots of one population, as its rows would have been measured."""
    for start in range(0, len(snapshots), AT_ONCE):
        some = snapshots[start : start + AT_ONCE]
        ground, weights = some[0].ground, torch.stack([each.weights for each in some])
        examples = ground.data.split("validation")
        with products(ground.protocol.precision), torch.no_grad():
            found = ground.model.measure(ground.layout.views(weights), {}, examples)
        columns = {f"validation_{name}": values.tolist() for name, values in found.items()}
        for i, each in enumerate(some):
            own = {name: float(values[i]) for name, values in columns.items()}
            yield {"train_loss": each.train_loss, **own}
