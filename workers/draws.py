"""Random draws of a population, computed once for all rows that have the same seed."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

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


KEPT = 64_000_000
"""At most this many bytes of draws are kept."""

ENTRY = 1500
"""Bytes that keeping a draw takes besides its numbers: of a small model's draws, most of them."""


class Memo:
    """Draws by their address, the oldest forgotten when they fill `KEPT` bytes.

    The rules of a search have the same seeds in every population, so that a worker computes most
    draws once.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, address: tuple[object, ...], draw: Callable[[], Tensor]) -> Tensor:
        """Return the draw at `address`, calling `draw` if it is not known."""
        known = self._known.get(address)
        if known is None:
            known = draw()
            self._known[address] = known
            self._bytes += known.nbytes + ENTRY
            while self._bytes > KEPT:
                self._bytes -= self._known.popitem(last=False)[1].nbytes + ENTRY
        return known


_MEMO = Memo()


class Chances:
    """Uniform numbers, as a `drop` reads them: `torch.where(numbers < p, 0.0, x)`, only faster.

    Where x is a tensor and p a number, no mask is made: `threshold_backward` gives x where the
    numbers are above the largest one below p, else 0, the same bits in a fifth of the time.
    """

    def __init__(self, numbers: Tensor) -> None:
        """Hold `numbers`, shaped like x or with one row for all."""
        self.numbers = numbers

    def __lt__(self, p: float | Tensor) -> "Tensor | Dropped":
        if isinstance(p, Tensor):
            return self.numbers < p
        return Dropped(self.numbers, p)


class Dropped(NamedTuple):
    """Where `numbers` are below p, a condition for `torch.where`."""

    numbers: Tensor
    p: float

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Tensor],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Choose between 0 and x as `torch.where` does."""
        dropped: Dropped = args[0]
        zero, x = args[1:]
        if isinstance(x, Tensor) and x.dtype == dropped.numbers.dtype and zero == 0.0:
            bound = _below(dropped.p, x.dtype)
            kept: Tensor = torch.ops.aten.threshold_backward(x, dropped.numbers, bound)
            return kept
        return func(dropped.numbers < dropped.p, zero, x)


@lru_cache(maxsize=4096)
def _below(p: float, dtype: torch.dtype) -> float:
    """Return the largest number of a type below the one that p is rounded to."""
    return torch.nextafter(
        torch.tensor(p, dtype=dtype), torch.tensor(-math.inf, dtype=dtype)
    ).item()


class Draws:
    """The numbers of `dsl.randomness` for whole rows.

    A draw depends on the seed, the step and its number in the rule, not on the rule. So rows of
    one seed have the same draws, whatever their rules, and each of them is computed once.

    Attributes:
        like: an empty tensor [distinct seeds, width] of the rows' precision and device.
        of_row: for every row, which of the distinct seeds is its own, int64 [rows].
    """

    def __init__(self, seeds: Sequence[int], like: Tensor) -> None:
        """Serve rows shaped like those of `like` [rows, width], with one seed per row."""
        self._distinct = tuple(sorted(set(seeds)))
        places = [self._distinct.index(seed) for seed in seeds]
        self.of_row = torch.tensor(places, device=like.device)
        self.like = like.new_empty(len(self._distinct), like.shape[1])
        self._where = (self._distinct, like.shape[1], like.dtype, like.device)

    def uniform(self, place: Place, index: int, like: Tensor) -> Chances:
        """Return numbers in [0, 1), shaped like `like` or with one row for all."""
        return Chances(self._draw(uniform, place, index))

    def normal(self, place: Place, index: int, like: Tensor) -> Tensor:
        """Return standard normal numbers, shaped like `like` or with one row for all."""
        return self._draw(normal, place, index)

    def _draw(
        self, function: Callable[[Draw, int, Tensor], Tensor], place: Place, index: int
    ) -> Tensor:
        address = (function, *self._where, place.step, index)
        draw = Draw(self._distinct, place.step)
        drawn = _MEMO.get(address, lambda: function(draw, index, self.like))
        return drawn if len(drawn) == 1 else drawn[place.seeds]
