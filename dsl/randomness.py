"""Counter-based random numbers: a draw depends on its address and on nothing else.

The address is (seed, step t, number of the draw in the rule, number of the weight), the weights
counted over all parameters of the optimizer. So a draw is the same alone and in a population, in
chunks and in one piece, on a CPU and on a GPU (normal draws to the rounding of log and cos).
Mixing is by a 32-bit permutation of the xorshift-multiply family (constants: C. Wellons,
"Prospecting for hash functions", 2018, `lowbias32`), computed in int64 where no product overflows.
"""

import math
from typing import NamedTuple

import torch

__all__ = ["Draw", "mix", "normal", "stream", "uniform"]


class Draw(NamedTuple):
    """Where in the stream of random numbers a step stands.

    Attributes:
        seed: The seed, or int64 seeds [rows, 1] for a population of [rows, P] weights.
        t: The step, from 0.
        first: Number of the tensor's first weight among all weights of the optimizer.
    """

    seed: int | torch.Tensor
    t: int
    first: int = 0


def mix(x: torch.Tensor) -> torch.Tensor:
    """Permute the 32-bit numbers in an int64 tensor."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = x ^ (x >> shift)
        x = ((x & 0xFFFF) * factor + (((x >> 16) * factor & 0xFFFF) << 16)) & 0xFFFFFFFF
    return x ^ (x >> 16)


def stream(draw: Draw, number: int, like: torch.Tensor) -> torch.Tensor:
    """Return the numbered stream's numbers in [0, 1): multiples of 2^-24, like `like`."""
    seed, t, first = draw
    count = like.shape[-1] if getattr(seed, "ndim", 0) else like.numel()
    seed = torch.as_tensor(seed, dtype=torch.int64, device=like.device) & 0xFFFFFFFF
    key = mix(mix(mix(seed) ^ (t & 0xFFFFFFFF)) ^ ((number + 0x9E3779B9) & 0xFFFFFFFF))
    element = first + torch.arange(count, device=like.device)
    bits = mix(mix(element & 0xFFFFFFFF) ^ key)
    return ((bits >> 8) * 2.0**-24).to(like.dtype).reshape(like.shape)


def uniform(draw: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
    """Return numbers in [0, 1) of the shape and type of `like`, for draw `index` of the rule.

    With seeds [rows, 1], `like` is [rows, P] and each row is a whole model.
    """
    return stream(draw, 3 * index, like)


def normal(draw: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
    """Return standard normal numbers of the shape and type of `like` (Box and Muller 1958)."""
    wide = like if like.dtype == torch.float64 else like.float()
    radius = torch.sqrt(-2.0 * torch.log(1.0 - stream(draw, 3 * index + 1, wide)))
    angle = 2.0 * math.pi * stream(draw, 3 * index + 2, wide)
    return (radius * torch.cos(angle)).to(like.dtype)
