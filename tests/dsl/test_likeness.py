"""How alike rules are: what counts for it, and what does not."""

import math

import pytest
import torch

from dsl.errors import RuleError
from dsl.likeness import course, likeness

SIGNUM = "sign(ema(g, 0.9))"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SIGNUM, f"{SIGNUM} + clip(w, 0.0001)"),
        (SIGNUM, f"1000 * {SIGNUM}"),
        ("exp(sign(g) * sign(ema(g, 0.9))) * g", "(1 + sign(g) * sign(ema(g, 0.9))) * g"),
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
        ("g", "exp(sign(g) * sign(ema(g, 0.9))) * g"),
        ("g", "g * ld"),
        ("g", "g + 0.3 * w"),
        ("g", "drop(g, 0.5)"),
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
    course.cache_clear()
    again = course("drop(g, 0.5)")
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(RuleError):
        likeness("g", "gg")
