"""How alike rules are: what counts for it, and what does not."""

import math

import pytest
import torch

from dsl.errors import RuleError
from dsl.likeness import _course, _drawn, _run, course, likeness, way
from dsl.trajectory import stepped

SIGNUM = "sign(ema(g, 0.9))"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SIGNUM, f"{SIGNUM} + clip(w, 0.0001)"),
        (SIGNUM, f"1000 * {SIGNUM}"),
        ("exp(sign(g) * sign(ema(g, 0.9))) * g", "(1 + sign(g) * sign(ema(g, 0.9))) * g"),
        ("drop(g, 0.5)", "0.0001 * drop(w, 0.3) * drop(g, 0.1) + drop(g, 0.5)"),
        ("noise(0.1) * g", "drop(noise(0.2), 0.3) * g * g * g + noise(0.1) * g"),
    ],
)
def test_rules_that_differ_in_what_does_not_count_are_alike(one: str, other: str) -> None:
    assert likeness(one, other) > 0.99


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("g", "sign(g)"),
        (SIGNUM, "sign(g)"),
        (SIGNUM, "sign(ema(g, 0.99))"),
        ("ema(g, 0.95)", "ema(g, 0.99)"),
        ("g", "exp(sign(g) * sign(ema(g, 0.9))) * g"),
        ("g", "g * ld"),
        ("g", "g + 0.3 * w"),
        ("g", "drop(g, 0.5)"),
        ("drop(g, 0.5)", "drop(g, 0.1)"),
        ("drop(g, 0.5)", "drop(drop(g, 0.4), 0.5)"),
    ],
)
def test_rules_that_train_differently_are_not(one: str, other: str) -> None:
    assert likeness(one, other) < 0.97
    assert likeness(one, other) == likeness(other, one)


def test_a_rule_against_itself_and_its_opposite() -> None:
    assert likeness("g", "g") == pytest.approx(1.0, abs=1e-5)
    assert likeness("g", "-g") == pytest.approx(-1.0, abs=1e-5)


def test_huge_updates_have_a_course() -> None:
    assert likeness("g * 1e200", "g") == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("rule", ["g / (g - g)", "g - g", "exp(1e9 * abs(g))"])
def test_without_a_course_there_is_no_likeness(rule: str) -> None:
    assert course(rule) is None
    assert math.isnan(likeness(rule, "g"))


def test_a_course_is_the_same_every_time() -> None:
    first = course("drop(g, 0.5)")
    for cached in (_course, _drawn, _run, way):
        cached.cache_clear()
    again = course("drop(g, 0.5)")
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)


def test_hyperparameters_count_where_the_rule_has_them() -> None:
    slow = course("ema(g, beta)", {"beta": 0.99, "gamma": 3.0})
    named, plain = course("ema(g, 0.99)"), course("ema(g, beta)")
    assert slow is not None
    assert named is not None
    assert plain is not None
    assert float(slow @ named) == pytest.approx(1.0, abs=1e-5)
    assert float(slow @ plain) < 0.97


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(RuleError):
        likeness("g", "gg")


@pytest.mark.parametrize(
    "rule", ["drop(drop(g, 0.5) + noise(0.01), 0.5)", "g + prev(u) / 2", "k = 0.5\nema(g, k) * ld"]
)
def test_a_course_is_the_compiled_rules(rule: str) -> None:
    """Also where hyperparameters are given, which the compiled rule is told at every step."""
    given = {"k": 0.75} if "k" in rule else {}
    steps = stepped(rule, way(), given).flatten()
    torch.testing.assert_close(course(rule, given), (steps / steps.norm()).float())
