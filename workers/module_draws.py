"""The random numbers that a task's module draws itself: the masks of dropout, say.

torch's generator hands out one stream to whoever asks next, so that under `vmap` a row's masks
would depend on its place and on how many rows there are. Here every draw comes from
`dsl.randomness` instead, by the row's seed, the step, the number of the draw in the step, and the
element: the same alone and among others, in every order and in chunks.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dsl.randomness import Draw, normal, uniform

_MIX = 0x3C6EF372
"""Keeps the module's stream apart from that of the rule's draws, which has the same seed."""

_MEASURED = 1 << 20
"""The first draw of a measurement; those of the training step count from 0."""

_aten: Any = torch.ops.aten


def _bernoulli(draw: Draw, index: int, like: Tensor, p: float = 0.5) -> Tensor:
    return (uniform(draw, index, like.float()) < p).to(like.dtype)


def _between(draw: Draw, index: int, like: Tensor, begin: float = 0.0, end: float = 1.0) -> Tensor:
    return begin + (end - begin) * uniform(draw, index, like)


def _gaussian(draw: Draw, index: int, like: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * normal(draw, index, like)


def _exponential(draw: Draw, index: int, like: Tensor, rate: float = 1.0) -> Tensor:
    return -torch.log1p(-uniform(draw, index, like)) / rate


_Fill = Callable[..., Tensor]

_LIKE: dict[Any, _Fill] = {
    _aten.bernoulli.p: _bernoulli,
    _aten.rand_like.default: _between,
    _aten.randn_like.default: _gaussian,
}
_IN_PLACE: dict[Any, _Fill] = {
    _aten.bernoulli_.float: _bernoulli,
    _aten.uniform_.default: _between,
    _aten.normal_.default: _gaussian,
    _aten.exponential_.default: _exponential,
}
_SIZED: dict[Any, _Fill] = {_aten.rand.default: _between, _aten.randn.default: _gaussian}


class ModuleDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, random operations of torch draw the rows' own numbers.

    Attributes:
        drew: whether anything was drawn so far.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device, *, stacked: bool) -> None:
        """Draw for rows with these seeds, which `vmap` stacks, or else for one module alone."""
        super().__init__()  # type: ignore[no-untyped-call]
        distinct = sorted(set(seeds))
        self._of_row = torch.tensor([distinct.index(seed) for seed in seeds], device=device)
        self._seeds = tuple(seed ^ _MIX for seed in distinct)
        self._device, self._stacked = device, stacked
        self._step = self._index = 0
        self.drew = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else torch imports its whole compiler, for seconds, only to leave this class out
        return False

    def at(self, step: int, index: int) -> "ModuleDraws":
        """Go to a step's draw `index`."""
        self._step, self._index = step, index
        return self

    def keep(self, rows: Tensor) -> None:
        """Keep only the rows with these indices."""
        self._of_row = self._of_row[rows]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer the operations that draw, and pass on all others."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if func in _IN_PLACE:
            return args[0].copy_(self._draw(_IN_PLACE[func], args[0], *args[1:]))
        if func in _LIKE:
            return self._draw(_LIKE[func], torch.empty_like(args[0], **kwargs), *args[1:])
        if func in _SIZED:
            return self._draw(_SIZED[func], torch.empty(args[0], **kwargs))
        if func is _aten.bernoulli.default:
            chances = args[0]
            return (self._draw(_between, chances) < chances).to(chances.dtype)
        if func is _aten.native_dropout.default and args[2] is not False:
            kept = self._draw(_bernoulli, args[0], 1 - args[1])
            return args[0] * kept * (1 / (1 - args[1]) if args[1] < 1 else 0.0), kept.bool()
        return self._other(func, args, kwargs)

    def _draw(self, fill: _Fill, like: Tensor, *numbers: float) -> Tensor:
        """Return numbers of the shape, type and device of `like`."""
        shape = like.shape
        of_row = self._of_row
        if self._stacked and len(of_row) == 1 and shape:
            of_row = of_row.expand(shape[0])  # a single row may be stacked twice
        if self._stacked and (not shape or shape[0] != len(of_row)):
            raise RuntimeError(f"a random tensor {tuple(shape)} has no leading dimension of rows")
        own = shape[1:] if self._stacked else shape
        flat = like.new_empty(len(self._seeds), own.numel())
        drawn = fill(Draw(self._seeds, self._step), self._index, flat, *numbers)
        self._index += 1
        self.drew = True
        return drawn[of_row].view(shape)

    def _other(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Call what may draw in another way; refuse it among stacked rows if it does."""
        before, own = _generator_state(self._device), kwargs.get("generator") is not None
        result = func(*args, **kwargs)
        if own or not torch.equal(before, _generator_state(self._device)):
            self.drew = True
            if self._stacked:
                raise RuntimeError(f"{func} draws random numbers that rows would share")
        return result


def training(draws: ModuleDraws | None, step: int) -> AbstractContextManager[object]:
    """Return the context of training step `step` (from 0), for a module that draws or does not."""
    return nullcontext() if draws is None else draws.at(step, 0)


def measuring(draws: ModuleDraws | None, step: int) -> AbstractContextManager[object]:
    """Return the context of a measurement after `step` steps."""
    return nullcontext() if draws is None else draws.at(step, _MEASURED)


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
