"""How an optimizer hands its tensors to a rule's lines.

`RuleOptimizer` and exported files, into which `each_piece` is printed, step the same pieces, so
they reach the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["SMALL_ON_CPU", "SMALL_ON_GPU", "each_piece"]

SMALL_ON_CPU = 1 << 12
"""Tensors of fewer elements are joined: below it, calling a kernel costs more than copying."""

SMALL_ON_GPU = 1 << 21
"""The same where kernels run beside Python; 8 MiB of float32, so that copies stay small."""


def each_piece(
    function: Callable[[Any, Sequence[Sequence[torch.Tensor]]], object],
    values: Any,
    rows: Sequence[Sequence[torch.Tensor]],
    small: bool,
    compiled: bool,
) -> None:
    """Call function(values, rows) with small rows as one, with large ones in blocks.

    Joined, a hundred biases cost as many kernels as one, which is what foreach is for. In blocks
    that fit a core's cache, what one line computes is still there when the next line reads it.

    Args:
        function: Steps w and the state of each row (g, w, *state) in place, element by element.
        values: The step's scalars, handed on.
        rows: For each parameter g, w and its state, all of one shape, dtype and device;
            flattened where that needs no copy.
        small: The rows are flat and small: join them.
        compiled: The function goes through each element once and needs no blocks; it is called
            with one row at a time, as other numbers of rows would be compiled anew.
    """
    pieces = joined = [[torch.cat(column) for column in zip(*rows, strict=True)]] if small else rows
    if not compiled and rows[0][0].is_cpu:
        pieces = [p for row in pieces for p in zip(*(torch.split(x, 1 << 17) for x in row))]  # noqa: B905 - of one shape
    for together in [[piece] for piece in pieces] if compiled else [pieces]:
        function(values, together)
    for column, flat in list(zip(zip(*rows), joined[0]))[1:] if small else []:  # noqa: B905 - alike
        torch._foreach_copy_(column, torch.split(flat, [x.numel() for x in column]))
