"""The study of unseen tasks, small: who climbs is chosen before them, and figures are paired."""

from dataclasses import replace

import pytest
import torch

from dsl.outcome import Outcome, TrialState
from tests.benchmarks.study_unseen import (
    FRESH_SEED,
    METRIC,
    TEST,
    TUNING_SEED,
    Effort,
    Entrant,
    Result,
    chosen_of,
    finds,
    run,
    tuned,
    verdict,
)

SMALL = Effort(steps=20, rates=(0.01, 0.1), schedules=("constant",), tuning_seeds=1, seeds=3)


def result(name: str, task: str, *losses: float) -> Result:
    told = {METRIC: losses, TEST: losses}
    outcome = Outcome(number=0, state=TrialState.COMPLETE, by_seed=told, seeds=len(losses))
    return Result(Entrant(name, name), task, None, outcome, 0, 0.0)


def test_an_optimizer_is_tuned_on_other_seeds_than_those_that_count() -> None:
    torch.set_num_threads(1)
    found = tuned(SMALL, Entrant("sgd", "g"), "diabetes")
    assert found.outcome is not None
    assert len(found.by_seed(TEST)) == 3
    assert found.steps == 20 * (2 * 2 * 1 + 3)
    assert found.chosen is not None
    assert found.chosen.seed == FRESH_SEED >= TUNING_SEED + 64
    assert found.point in {
        f"lr {lr}, constant, decay {decay}" for lr in (0.01, 0.1) for decay in (0, 0.1)
    }


def test_those_with_the_best_mean_rank_are_chosen() -> None:
    results = [
        result("a", "one", 1.0),
        result("b", "one", 2.0),
        result("c", "one", 3.0),
        result("a", "two", 9.0),
        result("b", "two", 1.0),
        result("c", "two", 2.0),
    ]
    assert [each.name for each in chosen_of(results, 2)] == ["b", "a"]
    results[4] = replace(results[4], outcome=None)
    assert [each.name for each in chosen_of(results, 3)] == ["a", "c", "b"]


def test_a_verdict_pairs_the_seeds() -> None:
    adamw = result("adamw", "one", *(0.5 + k / 10 for k in range(6)))
    better = result("mine", "one", *(0.4 + k / 10 for k in range(6)))
    beside = verdict(better, adamw)
    assert (beside.wins, beside.better, beside.p_value) == (6, True, pytest.approx(2 / 2**6))
    nothing = verdict(replace(better, outcome=None), adamw)
    assert (nothing.wins, nothing.better, nothing.p_value) == (0, False, 1.0)


def test_near_copies_climb_once_and_a_baseline_not_at_all() -> None:
    found = [
        Entrant("x", rule)
        for rule in ("g + m", "m + g", "sign(g)", "adam", "g + m + clip(w, 1e-06)")
    ]
    assert [each.rule for each in finds(found)] == ["g + m", "sign(g)"]


def test_three_rules_meet_the_baselines_where_nobody_looked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.set_num_threads(1)
    effort = replace(SMALL, steps=6, rates=(0.1,), weight_decays=(0.0,), seeds=2)
    better = run(range(1), 5, effort, ("diabetes",), (("sign", 1),))
    assert set(better) == {"lion", "rule 1", "rule 2", "rule 3"}
    assert set(better.values()) <= {0, 1}
    said = capsys.readouterr().out
    assert said.index("with fresh seeds on digits-mlp") < said.index("adamw: ")
    assert said.count("diabetes    ") == 5
