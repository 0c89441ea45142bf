"""Where every parameter lies in a population's flat tensors."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from workers.stacking import trained

ALIGN = 64
"""Rows are padded to a multiple of this many numbers, so that every row starts at the same place
of a vector register and no element's bits depend on where its row lies."""


class Layout:
    """Trained parameters in the module's order, one row per member of the population.

    Attributes:
        shapes: every parameter's shape by name.
        size: numbers in all parameters.
        width: `size` rounded up to a multiple of `ALIGN`; the padding stays out of reductions.
    """

    def __init__(self, module: nn.Module) -> None:
        """Read the parameters' names and shapes from `module`."""
        self.shapes = {name: value.shape for name, value in trained(module).items()}
        self._spans: dict[str, tuple[int, int]] = {}
        end = 0
        for name, shape in self.shapes.items():
            self._spans[name] = (end, end + shape.numel())
            end += shape.numel()
        self.size = end
        self.width = -(-end // ALIGN) * ALIGN

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return every parameter's view [rows, *shape] into `flat` [rows, width]."""
        rows = len(flat)
        return {
            name: flat[:, start:end].view(rows, *self.shapes[name])
            for name, (start, end) in self._spans.items()
        }

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return one row [width] that holds the parameters `values`, zero in the padding."""
        parts = [values[name].detach().reshape(-1) for name in self.shapes]
        padding = parts[0].new_zeros(self.width - self.size)
        return torch.cat([*parts, padding])

    def norm(self, x: Tensor) -> Tensor:
        """Return the Euclidean norm of every parameter's part of `x`, [..., width]."""
        return self._per_parameter(x, lambda part: part.square().sum(1, keepdim=True).sqrt())

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of every parameter's part of `x`, [..., width]."""
        return self._per_parameter(x, lambda part: part.mean(1, keepdim=True))

    def rms(self, x: Tensor) -> Tensor:
        """Return the root mean square of every parameter's part of `x`, [..., width]."""
        return self._per_parameter(x, lambda part: part.square().mean(1, keepdim=True).sqrt())

    def _per_parameter(self, x: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        flat = x.reshape(-1, self.width)
        result = torch.zeros_like(flat)
        for start, end in self._spans.values():
            result[:, start:end] = reduce(flat[:, start:end])
        return result.view(x.shape)
