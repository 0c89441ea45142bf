"""What is expected of rules from what came of others like them."""

import pytest

from dsl.errors import RuleError
from search.kinship import MOST, Kinship

KNOWN = [("m", 5.0), ("m + 0.0001 * g", 4.0), ("sign(g)", 2.0), ("sign(m)", 1.0), ("w * g", -9.0)]


def test_a_rule_is_worth_what_its_kin_came_to() -> None:
    kin = Kinship(KNOWN)
    near, between, bad = (kin.expected(rule) for rule in ("2 * m - 0.0001 * w", "adam", "w * g^3"))
    assert near > 0.2
    assert bad < between < near


def test_luck_is_shared_among_near_copies() -> None:
    copies = [(f"m + {i}e-5 * g", 1.0) for i in range(1, 8)]
    kin = Kinship([("m", 9.0), *copies, ("sign(g)", 8.0), ("g", 0.0)])
    assert kin.expected("m") == pytest.approx(kin.expected("m + 1e-5 * g"), abs=0.01)
    assert kin.expected("sign(g)") > kin.expected("m")


def test_of_an_opposite_the_opposite_is_expected_and_of_a_stranger_nothing() -> None:
    kin = Kinship(KNOWN)
    assert kin.expected("-m") == pytest.approx(-kin.expected("m"))
    assert abs(kin.expected("noise(1.0) + 0.001 * g")) < 0.05


def test_rewards_count_by_their_order() -> None:
    far = [(rule, 1e9 if reward == 5.0 else reward) for rule, reward in KNOWN]
    assert Kinship(far).expected("adam") == Kinship(KNOWN).expected("adam")
    even = Kinship([(rule, 1.0) for rule, _ in KNOWN])
    assert even.expected("m") == 0.0


def test_what_has_no_course_is_expected_in_the_middle_and_is_like_nothing() -> None:
    kin = Kinship([*KNOWN, ("g / (g - g)", 3.0)])
    assert kin.expected("g / (g - g)") == 0.0
    assert not kin.is_near("g / (g - g)")
    assert kin.expected("m") == pytest.approx(Kinship(KNOWN).expected("m"))


def test_near_copies_of_known_and_of_entered_rules_are_told() -> None:
    kin = Kinship(KNOWN)
    assert kin.is_near("3 * m + 0.0001 * w")
    assert not kin.is_near("-m")
    assert not kin.is_near("drop(g, 0.5)")
    kin.enter(["drop(g, 0.5)"])
    assert kin.is_near("drop(g, 0.5) + 0.0001 * w")
    assert kin.expected("m") == Kinship(KNOWN).expected("m")


def test_hyperparameters_are_those_of_the_search() -> None:
    known = [("ema(g, beta)", 1.0), ("g", 0.0)]
    slow = Kinship(known, {"beta": 0.99})
    assert slow.is_near("ema(g, 0.99)")
    assert not Kinship(known).is_near("ema(g, 0.99)")


def test_of_many_the_last_count() -> None:
    old, young = [("m", 1.0), ("sign(g)", 0.0)], [("g", 1.0), ("w * g", 0.0)] * (MOST // 2)
    assert not Kinship([*old, *young]).is_near("m")
    assert Kinship([*old, *young[2:]]).is_near("m")


def test_nothing_known_is_nothing_expected() -> None:
    kin = Kinship([])
    assert kin.expected("m") == 0.0
    assert not kin.is_near("m")


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(RuleError):
        Kinship([("gg", 1.0)])
    with pytest.raises(RuleError):
        Kinship(KNOWN).expected("gg")
