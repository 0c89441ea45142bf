"""What the names in generated scalar lines mean, on floats and on float64 tensors.

The same lines run on Python floats (one model) and on tensors (a population with a value per
row). Where Python would raise or turn complex (0 division, overflow, log of 0), the compiled rule
falls back to tensors throughout, so both give IEEE infinities and NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

__all__ = ["FLOAT", "TENSOR", "fitting", "sign", "where"]


def sign(x: float) -> float:
    """Return -1, 0 or 1."""
    return float((x > 0) - (x < 0))


def where(condition: bool, x: float, y: float) -> float:
    """Return x if the condition holds, else y."""
    return x if condition else y


def fitting(values: Sequence[float | torch.Tensor], dtype: torch.dtype) -> tuple[Any, ...]:
    """Return a step's scalars as tensors of `dtype` take them.

    Tensors are cast. A float that `dtype` cannot hold is infinite, as the cast would make it:
    torch.clamp and torch.where raise where they are given it as it is.
    """
    largest = torch.finfo(dtype).max
    return tuple(
        value.to(dtype)
        if isinstance(value, torch.Tensor)
        else math.copysign(math.inf, value)
        if abs(value) > largest
        else value
        for value in values
    )


FLOAT: Mapping[str, Any] = {
    "abs": math.fabs,
    "cos": math.cos,
    "exp": math.exp,
    "log": math.log,
    "max": max,
    "min": min,
    "pi": math.pi,
    "sign": sign,
    "sqrt": math.sqrt,
    "where": where,
}
"""Meanings for Python floats."""


def _lift(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Let a torch function take floats beside float64 tensors."""

    def lifted(*arguments: Any) -> torch.Tensor:
        device = next((a.device for a in arguments if isinstance(a, torch.Tensor)), None)
        return function(*(_tensor(a, device) for a in arguments))

    return lifted


def _tensor(value: Any, device: torch.device | None) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    dtype = torch.bool if isinstance(value, bool) else torch.float64
    return torch.tensor(value, dtype=dtype, device=device)


TENSOR: Mapping[str, Any] = {
    "abs": _lift(torch.abs),
    "cos": _lift(torch.cos),
    "exp": _lift(torch.exp),
    "log": _lift(torch.log),
    "max": _lift(torch.maximum),
    "min": _lift(torch.minimum),
    "pi": math.pi,
    "sign": _lift(torch.sign),
    "sqrt": _lift(torch.sqrt),
    "where": _lift(torch.where),
}
"""Meanings for float64 tensors, beside floats."""
