"""The study of the enumerated space, small: every rule is in the truth, and ranks are places."""

import pytest
import torch

from dsl.candidate import Candidate, Proposal
from search.identity import named
from search.settings import LanguageSettings
from tests.benchmarks.study_enumeration import METRIC, _strategy, enumerated, evaluation, run, stand
from workers.evaluation import judge

SMALL = LanguageSettings(
    groups=1, operands=("g", "m", "sign(g)"), unary=("{x}", "exp"), binary=("*", "+")
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_search_that_trains_every_rule_finds_the_best_of_the_truth() -> None:
    truth = enumerated(SMALL)
    assert truth.strings == 48
    rules = len(truth.losses) + len(truth.diverged) + len(truth.refused)
    assert rules <= truth.forms < truth.strings

    rule = "g + m"
    [alone] = judge(evaluation(), [Proposal(number=0, candidate=Candidate(rule=rule))])
    loss = truth.losses[named(Candidate(rule=rule)).hex()]
    assert loss == alone.metrics[METRIC]
    assert truth.rank(loss) == 1 + sum(other < loss for other in truth.losses.values())

    every = stand("random", 0, truth, 1000, SMALL)
    assert (every.rank, every.loss, every.outside) == (1, *truth.best[0][:1], 0)
    assert every.judged == rules

    assert truth.rule("m + g") == "g + m"
    assert truth.rule("g + m + sign(g)") is None
    outside = [
        _strategy(name, 0, truth, SMALL)._is_new("g + m + sign(g)")
        for name in ("evolution", "evolution, free")
    ]
    assert outside == [False, True]


def test_every_strategy_stands_somewhere() -> None:
    standings = run(range(1), 6, SMALL)
    names = ["random", "evolution", "evolution, free", "reinforcement"]
    assert [one.strategy for one in standings] == names
    assert all(one.rank >= 1 and one.judged >= 6 for one in standings)
