"""Grammars small enough to write out in full."""

from itertools import pairwise, product

import torch
from torch import Tensor


class Toy:
    """Strings of `length` tokens out of `vocabulary`, no token following itself."""

    def __init__(self, length: int = 3, vocabulary: int = 4) -> None:
        self.length = length
        self.vocabulary = vocabulary

    def mask(self, prefixes: Tensor) -> Tensor:
        rows, k = prefixes.shape
        legal = torch.ones(rows, self.vocabulary, dtype=torch.bool)
        if k:
            legal[torch.arange(rows), prefixes[:, -1]] = False
        return legal

    def strings(self) -> Tensor:
        every = product(range(self.vocabulary), repeat=self.length)
        return torch.tensor([s for s in every if all(a != b for a, b in pairwise(s))])


def rewards(strings: Tensor) -> Tensor:
    """Give a reward to each string; one is best, others are near it, one is far below."""
    weights = torch.tensor([1.0, 0.7, -0.4, 0.2, 0.5])[: strings.shape[1]]
    return torch.sin(strings * 2.3) @ weights + 0.1 * strings[:, 0] * strings[:, -1]
