"""The names a rule may use without declaring them."""

import math

__all__ = ["BARE", "HYPERPARAMETERS", "OPERANDS", "SUGAR"]

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
