"""Counter-based random numbers: a draw depends on its address and on nothing else.

The address is (seed, step t, number of the draw in the rule, number of the weight), the weights
counted over all parameters of the optimizer. So a draw is the same alone and in a population, in
chunks and in one piece, on a CPU and on a GPU (normal draws to the rounding of log and cos).
Mixing is by a 32-bit permutation of the xorshift-multiply family (constants: C. Wellons,
"Prospecting for hash functions", 2018, `lowbias32`), computed in int64 where no product overflows:
the second factor is taken less 2^32, which leaves the low 32 bits as they are.
"""

import math
from typing import NamedTuple, TypeVar

import torch

__all__ = ["Draw", "mix", "normal", "stream", "uniform"]

Whole = TypeVar("Whole", int, torch.Tensor)


class Draw(NamedTuple):
    """Where in the stream of random numbers a step stands.

    Attributes:
        seed: The seed, or one for each row of a population of [rows, P] weights.
        t: The step, from 0.
        first: Number of the tensor's first weight among all weights of the optimizer.
    """

    seed: int | tuple[int, ...]
    t: int
    first: int = 0


def mix(x: Whole) -> Whole:
    """Permute a 32-bit number, or those in an int64 tensor."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - (1 << 32))):
        x = (x ^ (x >> shift)) * factor
        x &= 0xFFFFFFFF
    return x ^ (x >> 16)


def stream(draw: Draw, number: int, like: torch.Tensor) -> torch.Tensor:
    """Return the numbered stream's numbers in [0, 1): multiples of 2^-24, like `like`."""
    seed, t, first = draw
    seeds = seed if isinstance(seed, tuple) else (seed,)
    number, t = (number + 0x9E3779B9) & 0xFFFFFFFF, t & 0xFFFFFFFF
    keys = [[mix(mix(mix(each & 0xFFFFFFFF) ^ t) ^ number)] for each in seeds]
    element = first + torch.arange(like.numel() // len(seeds), device=like.device)
    bits = mix(mix(element & 0xFFFFFFFF) ^ torch.tensor(keys, device=like.device))
    return ((bits >> 8) * 2.0**-24).to(like.dtype).reshape(like.shape)


def uniform(draw: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
    """Return numbers in [0, 1) of the shape and type of `like`, for draw `index` of the rule.

    With a seed for each row, `like` is [rows, P] and each row is a whole model.
    """
    return stream(draw, 3 * index, like)


def normal(draw: Draw, index: int, like: torch.Tensor) -> torch.Tensor:
    """Return standard normal numbers of the shape and type of `like` (Box and Muller 1958)."""
    wide = like if like.dtype == torch.float64 else like.float()
    radius = torch.sqrt(-2.0 * torch.log(1.0 - stream(draw, 3 * index + 1, wide)))
    angle = 2.0 * math.pi * stream(draw, 3 * index + 2, wide)
    return (radius * torch.cos(angle)).to(like.dtype)
