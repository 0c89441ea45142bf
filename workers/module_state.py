"""What a module keeps besides parameters and buffers, looked at to see whether steps change it.

Rows of a stack share one skeleton (see `workers.stacking`), and with it every list, number, object
or closure that the module has.
"""

import warnings
from collections.abc import Iterator
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OWN = ("training", "_parameters", "_buffers", "_modules")
"""Attributes of every module: `train` sets the first, and the others are stacked."""

_PLAIN = (int, float, complex, str, bytes, type(None))


class State:
    """The attributes of a module and its parts at one moment, whatever they are made of.

    Numbers, strings, tensors and arrays count by value, all else by what it consists of: items,
    attributes, or what it would be pickled as. What cannot be looked into counts by identity.
    """

    def __init__(self, module: nn.Module) -> None:
        """Look at `module` as it is now."""
        own = (*module.modules(), *module.parameters(), *module.buffers())
        self._seen: dict[int, tuple[int, Any]] = {
            id(each): (number, each) for number, each in enumerate(own)
        }
        """What was looked at, by identity; kept, so that no identity is given again."""

        self._marks = {
            # a tensor that was replaced may be one of all rows, whatever its numbers
            f"{name}.{key}".lstrip("."): [
                id(value) if isinstance(value, Tensor) else None,
                *self._walk(value),
            ]
            for name, part in module.named_modules()
            for key, value in vars(part).items()
            if key not in _OWN
        }

    def changed(self, later: "State") -> list[str]:
        """Return the names of attributes that are not in `later` what they are here."""
        names = {**self._marks, **later._marks}
        return [name for name in names if self._marks.get(name) != later._marks.get(name)]

    def _walk(self, value: Any) -> Iterator[Any]:
        """Yield marks that are equal for what is the same."""
        left = [value]
        while left:
            each = left.pop()
            if isinstance(each, _PLAIN):
                yield type(each), repr(each)
                continue
            if id(each) in self._seen:
                yield self._seen[id(each)][0]
                continue
            self._seen[id(each)] = len(self._seen), each
            if isinstance(each, Tensor):
                yield each.dtype, each.shape, _digest(each)
            else:
                parts = _parts(each)
                yield type(each), id(each) if parts is None else len(parts)
                left += reversed(parts or [])


def _digest(value: Tensor) -> int | None:
    """Return a hash of the tensor's numbers, None where it has none of its own."""
    if value.layout is not torch.strided or value.is_meta:
        return None
    return hash(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _parts(value: Any) -> list[Any] | None:
    """Return what a thing consists of, None for what is only itself."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [value.shape, value.tobytes()]
    if isinstance(value, CellType):
        return _content(value)
    if isinstance(value, FunctionType):
        return [value.__code__, value.__closure__, value.__defaults__, vars(value)]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, type | ModuleType | BuiltinFunctionType):
        return None
    return _pickled(value)


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # a name that has no value yet
        return []


def _pickled(value: Any) -> list[Any] | None:
    """Return what an object would be pickled as: its class or maker, arguments, state and items."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterators, which later versions do not pickle
        try:
            found = value.__reduce_ex__(4)
        except Exception:  # every class has its own way of refusing
            return None
    if isinstance(found, str):
        return None
    return [list(each) if isinstance(each, Iterator) else each for each in found]
