import math

import pytest

from dsl.agreement import acts_on_agreement, agreement


@pytest.mark.parametrize(
    ("rule", "ratio"),
    [
        ("exp(sign(g) * sign(m)) * g", math.e**2),
        ("10 ^ (sign(g) * sign(ema(g, 0.8))) * m", 100.0),
        ("(1 + sign(g) * sign(m)) * g", math.inf),
        ("(sign(g) + sign(m)) * g ^ 2", math.inf),
        ("where(g * m, m, 0.1 * m)", 10.0),
        ("drop(exp(sign(g) * sign(m)), 0.3) * g", math.e**2),
    ],
)
def test_rules_that_act_on_agreement(rule: str, ratio: float) -> None:
    found = agreement(rule)
    if "* g" in rule and "drop" not in rule:
        assert found == pytest.approx((ratio,) * len(found), rel=1e-4)
    assert acts_on_agreement(rule)


@pytest.mark.parametrize(
    "rule",
    ["g", "m", "sign(g)", "adam", "g + m", "sign(m + g)", "0.9 * trace(g, 0.9) + g", "g * m", "-m"],
)
def test_rules_that_do_not(rule: str) -> None:
    assert not acts_on_agreement(rule)


@pytest.mark.parametrize(
    "rule",
    [
        "sign(g) + sign(m) + 1",
        "2 * sign(g) + exp(sign(m))",
        "exp(g) + exp(sign(g) + sign(m))",
        "sign(g) + sign(sign(g) + exp(m))",
    ],
)
def test_rules_that_lean_to_one_side_do_not_act_on_agreement(rule: str) -> None:
    """On one side of zero their updates are twice as large and more where g and m agree."""
    assert not acts_on_agreement(rule)


def test_ascent_is_no_agreement() -> None:
    assert not acts_on_agreement("-exp(sign(g) * sign(m)) * g")
    assert all(math.isnan(ratio) for ratio in agreement("-exp(sign(g) * sign(m)) * g"))


def test_a_sum_acts_on_agreement_only_where_sizes_are_alike() -> None:
    ratios = agreement("g + m")
    assert max(ratios) > 2.0
    assert min(ratios) == pytest.approx((1 + 0.125) / (1 - 0.125), rel=0.15)
