"""The benchmark of populations, small: what it compares is equal, what it counts is right."""

import pytest
import torch

from tests.benchmarks.bench_population import (
    NAMES,
    SETTINGS,
    Setting,
    children,
    differences,
    flops,
    of_the_loop_itself,
)


def test_loop_and_population_train_the_same_children() -> None:
    found = differences(Setting("digits-mlp", 10, 0, 0.0, 0.0), torch.float64)
    assert 0 < found[-1] < 1e-9


def test_the_loop_in_reverse_differs_by_rounding_alone() -> None:
    found = of_the_loop_itself(Setting("digits-mlp", 3, 0, 0.0, 0.0))
    assert 0 < found[-1] < 1e-3


def test_children_differ_and_take_the_rules_in_turn() -> None:
    found = children(64)
    assert len({(each.rule, each.lr, each.decay) for each in found}) == 64
    rules = [each.rule for each in found]
    assert rules == rules[: len(NAMES)] * 8
    assert {each.seed for each in found} == {0}
    assert [each.seed for each in children(128, seeds=64)] == [*range(64), *range(64)]


def test_the_floor_counts_the_products_of_both_passes() -> None:
    forward = 64 * (64 * 32 + 32 * 10)
    backward = 64 * (64 * 32 + 2 * 32 * 10)  # no gradient by the images
    assert flops(SETTINGS[0]) == 2 * (forward + backward)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.task)
def test_every_rule_is_looped_equally_often(setting: Setting) -> None:
    assert setting.looped % len(NAMES) == 0
