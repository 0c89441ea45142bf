"""The names a rule may use without declaring them."""

import math
from dataclasses import dataclass

__all__ = ["BARE", "HYPERPARAMETERS", "OPERANDS", "SUGAR", "Range", "range_of"]

OPERANDS: dict[str, str] = {
    "g": "the gradient",
    "w": "the weights",
    "u": "the previous update, 0 at first",
    "t": "the step, from 0",
    "T": "the total number of steps",
}
"""Operands proper, which no line may redefine."""

SUGAR: dict[str, str] = {
    "m": "debias(ema(g, beta1))",
    "v": "debias(ema(g ^ 2, beta2))",
    "y": "debias(ema(g ^ 3, beta3))",
    "adam": "m / (sqrt(v) + eps)",
    "rmsprop": "g / (sqrt(v) + eps)",
}
"""Operands that stand for text, read where they are used; a line may redefine them."""

BARE: dict[str, tuple[float, ...]] = {
    "ld": (),
    "cd": (0.5,),
    "rd": (1.0,),
    "annealed_noise": (),
}
"""Scalars of time that may be written without arguments, and the arguments they then have."""

HYPERPARAMETERS: dict[str, float] = {
    "alpha": 1.0,
    "base": math.e,
    "beta": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "beta3": 0.999,
    "decay": 1.0,
    "delta": 1e-8,
    "eps": 1e-8,
    "gamma": 0.9,
    "mu": 0.9,
    "nu": 0.7,
    "nu1": 0.7,
    "nu2": 1.0,
    "rho": 0.9,
}
"""Well-known hyperparameters and their defaults, which a line `name = number` replaces."""


@dataclass(frozen=True)
class Range:
    """Which values of a hyperparameter make sense, and the words for them."""

    low: float
    high: float
    words: str
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value and (value < self.high if self.open_high else value <= self.high)


_AVERAGE = Range(0.0, 1.0, "0 <= value < 1, for it is the weight of the past", open_high=True)
_SHARE = Range(0.0, 1.0, "0 <= value <= 1, for it is a share")
_SMALL = Range(0.0, math.inf, "0 or more")
_RANGES = {
    "beta": _AVERAGE,
    "gamma": _AVERAGE,
    "mu": _AVERAGE,
    "rho": _AVERAGE,
    "nu": _SHARE,  # 1 is QHAdam's own second share
    "delta": _SMALL,
    "eps": _SMALL,
}


def range_of(name: str, default: float) -> Range | None:
    """Return the range of a hyperparameter by its well-known name, `beta2` being a `beta`.

    None if the name is not well-known, or if the rule's own default lies outside: then the rule
    means something else by it.
    """
    found = _RANGES.get(name.rstrip("0123456789"))
    return found if found is not None and default in found else None
