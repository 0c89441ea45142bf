"""The behavioural fingerprint: one name for all rules that do the same.

A rule is stepped along a fixed probe (`dsl.probe`), and the updates are rounded and hashed. Rules
with equal fingerprints are the same rule for a trainer; looking one up takes constant time. It
sees what algebra does not (`exp(a) * exp(b)` and `exp(a + b)`), and algebra (`dsl.canonical`) what
rounding hides, so both are used.
"""

import hashlib
from functools import lru_cache

import torch

from dsl.canonical import canonical_text
from dsl.probe import trajectory
from dsl.text import parse
from dsl.validate import checked

__all__ = ["fingerprint"]

_BITS = 24
"""Binary digits that count, as many as a float32 has: what training sees. Rounding errors of
equal rules are some 1e8 times smaller."""

_NOTHING = 1e-13
"""What is smaller, relative to the largest update of its coordinate, is a rounding error of 0."""


@lru_cache(maxsize=65536)
def fingerprint(text: str, *, scale_free: bool = True, canonical: bool = False) -> str:
    """Return 16 hexadecimal digits that equal rules share.

    A rule that shows nothing along the probe, no finite number but 0, shares its fingerprint with
    its canonical form only.

    Args:
        text: The rule, taken with its hyperparameters' defaults.
        scale_free: Rules that differ by a positive constant factor are equal, as they are where
            the learning rate is tuned.
        canonical: The text is its own canonical form already, which saves finding it.

    Raises:
        RuleError: The text is no rule, or one that the checks refuse.
    """
    form = text if canonical else canonical_text(text)
    updates, unseen = trajectory(checked(parse(form)), form)
    sizes = updates.abs()
    finite = sizes.isfinite()
    largest = torch.where(finite, sizes, 0.0).amax(0)
    updates = torch.where(sizes <= _NOTHING * largest, 0.0, updates)
    shown = sizes[finite & (updates != 0.0)]
    if not shown.numel():
        return _hashed(form.encode())
    if scale_free:
        # not the largest, beside which all others could be lost
        updates = updates / shown.median()
    return _hashed(_rounded(updates) + repr(unseen).encode())


def _rounded(values: torch.Tensor) -> bytes:
    """Return the bytes of numbers rounded to the binary digits that count."""
    fractions, exponents = torch.frexp(values)
    rounded = torch.ldexp((fractions * 2.0**_BITS).round(), exponents)
    # NaN has many bit patterns, 0 has two
    rounded = torch.where(rounded.isnan(), torch.nan, rounded + 0.0)
    return rounded.numpy().tobytes()


def _hashed(said: bytes) -> str:
    return hashlib.sha256(said).hexdigest()[:16]
