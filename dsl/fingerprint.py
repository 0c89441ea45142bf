"""The behavioural fingerprint: one name for all rules that do the same.

A rule is stepped along a fixed probe (`dsl.probe`), and the updates are rounded and hashed. Rules
with equal fingerprints are the same rule for a trainer; looking one up takes constant time. It
sees what algebra does not (`exp(a) * exp(b)` and `exp(a + b)`), and algebra (`dsl.canonical`) what
rounding hides, so both are used.
"""

import hashlib
from functools import cache, lru_cache

import torch

from dsl.canonical import canonical_text
from dsl.probe import TIMES, TOTAL, numbers, probe
from dsl.trajectory import trajectory
from dsl.validate import program_of

__all__ = ["edition", "fingerprint"]

_BITS = 24
"""Binary digits that count, as many as a float32 has: what training sees. Rounding errors of
equal rules are some 1e8 times smaller."""

_DROPPED = 53 - _BITS
"""Binary digits of a float64 that do not."""

_NOTHING = 1e-13
"""What is smaller, relative to the largest update of its coordinate, is a rounding error of 0."""

_SCALE_FROM = 8
"""A rule's scale is the median of every so many updates: finding one of all takes longer."""


@lru_cache(maxsize=65536)
def fingerprint(text: str, *, scale_free: bool = True, canonical: bool = False) -> str:
    """Return 16 hexadecimal digits that equal rules share.

    A rule that shows nothing along the probe, no finite number but 0, shares its fingerprint with
    its canonical form only. Fingerprints of another `edition` are other names for the same rules.

    Args:
        text: The rule, taken with its hyperparameters' defaults.
        scale_free: Rules that differ by a positive constant factor are equal, as they are where
            the learning rate is tuned.
        canonical: The text is its own canonical form already, which saves finding it.

    Raises:
        RuleError: The text is no rule, or one that the checks refuse.
    """
    form = text if canonical else canonical_text(text)
    updates, unseen = trajectory(program_of(form), form)
    sizes = updates.abs()
    finite = sizes.isfinite()
    largest = torch.where(finite, sizes, 0.0).amax(0)
    updates = torch.where(sizes <= _NOTHING * largest, 0.0, updates)
    scale = _scale(updates, finite)
    if scale is None:
        return _hashed(form.encode())
    if scale_free:
        updates = updates / scale
    return _hashed(_rounded(updates) + repr(unseen).encode())


@cache
def edition() -> bytes:
    """Return two bytes that say which probe and which rounding fingerprints come from.

    Names made along two probes must not be mixed: two rules that one of them merges are two names
    along the other.
    """
    seen = [*probe(), numbers("uniform", 0), numbers("normal", 0)]
    said = repr((TIMES, TOTAL, _BITS, _NOTHING, _SCALE_FROM)).encode()
    return hashlib.sha256(b"".join(map(_rounded, seen)) + said).digest()[:2]


def _scale(updates: torch.Tensor, finite: torch.Tensor) -> float | None:
    """Return the size of a typical update, None where none is a finite number but 0.

    Not the largest, beside which all others could be lost.
    """
    shown = finite & (updates != 0.0)
    for every in (_SCALE_FROM, 1):
        found = updates.view(-1)[::every][shown.view(-1)[::every]]
        if found.numel():
            return float(found.abs().median())
    return None


def _rounded(values: torch.Tensor) -> bytes:
    """Return the bytes of numbers rounded to the binary digits that count."""
    # adding 0 makes 0 of -0; a carry out of the fraction raises the exponent, as it should
    bits = (values + 0.0).view(torch.int64)
    bits = (bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)
    # NaN has many bit patterns
    return bits.masked_fill_(values.isnan(), -1).numpy().tobytes()


def _hashed(said: bytes) -> str:
    return hashlib.sha256(edition() + said).hexdigest()[:16]
