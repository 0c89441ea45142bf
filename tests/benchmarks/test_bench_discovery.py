"""The benchmark of screening, small: everything sampled is counted once."""

from dsl.candidate import Candidate
from tests.benchmarks.bench_discovery import kind, sample, train
from workers.screening import fault


def test_every_string_is_refused_merged_or_distinct() -> None:
    found = sample(400)
    assert found.refused + found.canonical + found.behaving + len(found.rules) == 400
    assert found.canonical > found.behaving > 0
    assert len(set(found.rules)) == len(found.rules)


def test_rejected_rules_are_trained_all_the_same_to_see_what_is_lost() -> None:
    (descending, ascending), _ = train(["g", "-g"])
    assert descending < 0.5 < 2.3 < ascending


def test_rejections_have_names() -> None:
    rules = ("log(g - abs(g))", "0 * g + sign(exp(g))", "abs(g)", "-g", "hello(g)")
    found = [kind(fault(Candidate(rule=rule)) or "accepted") for rule in rules]
    assert found == ["not finite", "the same", "of one sign", "not descending", "faulty"]
