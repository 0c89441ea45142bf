"""Rules that do the same have one fingerprint, rules that do not have two."""

import pytest

from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.fingerprint import fingerprint
from optimizers.catalogue import CATALOGUE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("exp(g) * exp(m)", "exp(g + m)"),
        ("base ^ g", "exp(g)"),
        ("log(exp(g))", "g"),
        ("nu = 1\nnu * m + (1 - nu) * g", "m"),
        ("where(g, g, -g)", "abs(g)"),
        ("max(g, m) + min(g, m)", "g + m"),
        ("drop(g + m, 0.3)", "drop(m + g, 0.3)"),
        ("2 * g", "g"),
        ("alpha = 7\nalpha * adam", "adam"),
    ],
)
def test_merges(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("g", "-g"),
        ("g / sqrt(v)", "rmsprop"),
        ("ld * g", "cd * g"),
        ("g + 1e-8 * w", "g"),
        ("m", "ema(g, beta1)"),
        ("ema(g, 0.9)", "ema(g, 0.901)"),
        ("drop(g, 0.3)", "drop(g, 0.31)"),
        ("clip(g, 1e-5)", "clip(g, 1e-4)"),
        ("g + log(abs(g)) * 0", "g"),
        ("prev(g)", "g"),
    ],
)
def test_does_not_merge(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_scale_counts_where_it_is_not_tuned() -> None:
    assert fingerprint("2 * g", scale_free=False) != fingerprint("g", scale_free=False)
    assert fingerprint("g + g", scale_free=False) == fingerprint("2 * g", scale_free=False)


def test_named_rules_are_told_apart() -> None:
    """Those that coincide have one canonical form or are known identities."""
    groups: dict[str, set[str]] = {}
    for name, entry in CATALOGUE.items():
        groups.setdefault(fingerprint(entry.rule), set()).add(name)
    forms = [
        {canonical_text(CATALOGUE[name].rule) for name in group}
        for group in groups.values()
        if len(group) > 1
    ]
    shared = [sorted(form) for form in forms if len(form) > 1]
    assert len(groups) >= 60
    assert len(shared) <= 6, shared


def test_refuses_what_is_no_rule() -> None:
    with pytest.raises(RuleError):
        fingerprint("w")
