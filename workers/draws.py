"""Random draws of a population, computed once for all rows that have the same seed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dsl.randomness import Draw, normal, uniform


class Place(NamedTuple):
    """Where the rows of one rule stand in the stream, as a rule's `draw`.

    Attributes:
        seeds: for every row, which of the distinct seeds is its own, int64 [rows].
        step: the step, from 0.
    """

    seeds: Tensor
    step: int


Drawn = dict[tuple[object, ...], Tensor]
"""What has been drawn, to be shared by the stacks of a population."""

KEPT = 64_000_000
"""At most this many bytes of draws are kept at a time."""


class Draws:
    """The numbers of `dsl.randomness` for whole rows.

    A draw depends on the seed, the step and its number in the rule, not on the rule. So rows of
    one seed have the same draws, whatever their rules, and each of them is computed once.

    Attributes:
        like: an empty tensor [distinct seeds, width] of the rows' precision and device.
        of_row: for every row, which of the distinct seeds is its own, int64 [rows].
    """

    def __init__(self, seeds: Sequence[int], like: Tensor, drawn: Drawn) -> None:
        """Serve rows shaped like those of `like` [rows, width], with one seed per row."""
        self._distinct = tuple(sorted(set(seeds)))
        places = [self._distinct.index(seed) for seed in seeds]
        self.of_row = torch.tensor(places, device=like.device)
        self.like = like.new_empty(len(self._distinct), like.shape[1])
        self._seeds = torch.tensor(self._distinct, device=like.device).unsqueeze(1)
        self._drawn = drawn
        self._limit = max(1, KEPT // (self.like.numel() * self.like.element_size()))

    def uniform(self, place: Place, index: int, like: Tensor) -> Tensor:
        """Return numbers in [0, 1), shaped like `like` or with one row for all."""
        return self._draw("uniform", uniform, place, index)

    def normal(self, place: Place, index: int, like: Tensor) -> Tensor:
        """Return standard normal numbers, shaped like `like` or with one row for all."""
        return self._draw("normal", normal, place, index)

    def _draw(
        self,
        kind: str,
        function: Callable[[Draw, int, Tensor], Tensor],
        place: Place,
        index: int,
    ) -> Tensor:
        key = (self._distinct, kind, place.step, index)
        drawn = self._drawn.get(key)
        if drawn is None:
            if len(self._drawn) >= self._limit:
                self._drawn.clear()
            drawn = function(Draw(self._seeds, place.step), index, self.like)
            self._drawn[key] = drawn
        return drawn if len(drawn) == 1 else drawn[place.seeds]
