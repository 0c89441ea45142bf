"""How an optimizer hands its tensors to a rule's lines.

`RuleOptimizer` and exported files, into which `each_piece` is printed, step the same pieces, so
they reach the same bits.
"""

from collections.abc import Callable, Sequence

import torch

__all__ = ["SMALL_ON_CPU", "SMALL_ON_GPU", "each_piece"]

SMALL_ON_CPU = 1 << 12
"""Tensors of fewer elements are joined: below it, calling a kernel costs more than copying."""

SMALL_ON_GPU = 1 << 21
"""The same where kernels run beside Python; 8 MiB of float32, so that copies stay small."""


def each_piece(
    function: Callable[..., object],
    rows: Sequence[Sequence[torch.Tensor]],
    small: bool,
    compiled: bool,
) -> None:
    """Call function(g, w, *state) on small rows as one, on large ones in blocks.

    Joined, a hundred biases cost as many kernels as one, which is what foreach is for. In blocks
    that fit a core's cache, what one line computes is still there when the next line reads it.

    Args:
        function: Steps w and the state in place, element by element.
        rows: For each parameter g, w and its state, all of one shape, dtype and device;
            flattened where that needs no copy.
        small: The rows are flat and small: join them.
        compiled: The function goes through each element once and needs no blocks.
    """
    joined = [torch.cat(column) for column in zip(*rows, strict=True)] if small else []
    for row in [joined] if small else rows:
        whole = compiled or not row[0].is_cpu
        for piece in [row] if whole else zip(*(torch.split(x, 1 << 17) for x in row), strict=True):
            function(*piece)
    for column, flat in list(zip(zip(*rows), joined))[1:]:  # noqa: B905 - none joined, none back
        torch._foreach_copy_(column, torch.split(flat, [x.numel() for x in column]))
