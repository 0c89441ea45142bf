"""The benchmark of merged rules, small: what counts as one rule trains as one."""

import pytest

from dsl.canonical import canonical_text
from dsl.fingerprint import fingerprint
from tests.benchmarks.bench_language import part, rewritten, sample


@pytest.mark.parametrize("groups", [1, 2])
def test_merged_rules_train_alike(groups: int) -> None:
    found = sample(groups, 500, seed=70 + groups)
    assert found.refused < 5, "the masks leave next to nothing to the checks"
    assert len(found.prints) < len(found.forms) < found.drawn - found.refused
    told = part(found.by_form[:10], False) + part(found.by_print[:10], True)
    assert sum(parts is not None for parts, _, _ in told) >= 4
    assert not [entry for entry in told if entry[0]]


def test_rules_that_are_not_one_part() -> None:
    pairs = [("g", "m"), ("sign(g)", "sign(m)"), ("g", "clip(g, 0.001)"), ("adam", "rmsprop")]
    assert [parts for parts, _, _ in part(pairs, True)] == [True] * 4
    zeros = [("g", "g * sign(w) ^ 2"), ("w + g", "abs(sign(g)) * w + g")]
    assert [parts for parts, _, _ in part(zeros, True)] == [True] * 2
    assert [parts for parts, _, _ in part([("g", "2 * g")], False)] == [True]
    assert [parts for parts, _, _ in part([("g", "2 * g")], True)] == [False]


@pytest.mark.parametrize("form", ["exp(g + m)", "clip(g, 0.001) * m", "sign(sqrt(v) - 1)"])
def test_a_rule_said_in_another_way_is_known_again(form: str) -> None:
    other = rewritten(canonical_text(form))
    assert other is not None
    assert other != canonical_text(form)
    assert fingerprint(other) == fingerprint(form)


@pytest.mark.parametrize("form", ["g", "drop(noise(0.1), 0.5) * sign(g)"])
def test_what_cannot_be_said_in_another_way_is_not(form: str) -> None:
    assert rewritten(form) is None
