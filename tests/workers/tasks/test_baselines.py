"""Every task's baselines against the numbers that were recorded for them.

A seed's end may differ between machines by rounding, which some landscapes blow up; it may not
differ by more than seeds do. So the mean over seeds has to lie within four standard errors of the
recorded one, and within half a percent where the seeds hardly differ.
"""

import json
import math
from statistics import fmean, stdev
from typing import Any

import pytest

from dsl.outcome import TrialState
from tests.workers.tasks.baselines import GOLDEN, NAMES, SEEDS, score, steps_of, train
from workers.tasks.registry import TASKS

RECORDED: dict[str, Any] = json.loads(GOLDEN.read_text())

OTHER_TEXT = {"char-lm": 0.1}
"""Nats by which the text of another version of Python may move the loss."""

UNINFORMED = {
    "digits-mlp": math.log(10),
    "digits-conv": math.log(10),
    "breast-cancer": math.log(2),
    "wine": math.log(3),
    "diabetes": 1.0,
    "char-lm": math.log(32),
    "sparse-logistic": math.log(2),
    "random-labels": math.log(10),
    "beale": math.log(41.25),
    "rosenbrock": math.log(24.2),
}
"""What a model that knows nothing scores: the entropy of the classes, or a landscape's start."""


def test_every_task_has_its_baselines() -> None:
    assert set(RECORDED) == set(TASKS)
    for name, known in RECORDED.items():
        assert set(known["baselines"]) == set(NAMES)
        assert known["steps"] == steps_of(name)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_baselines_reach_what_they_reached(task: str) -> None:
    known = RECORDED[task]["baselines"]
    trained = train(task, {name: [known[name]["lr"]] for name in NAMES})
    for name in NAMES:
        (results,) = trained[name].values()
        assert [result.state for result in results] == [TrialState.COMPLETE] * SEEDS
        found = [score(task, result.metrics["validation_loss"]) for result in results]
        expected = [score(task, loss) for loss in known[name]["validation_loss"]]
        slack = 4 * stdev(expected) / math.sqrt(SEEDS) + 0.005 * abs(fmean(expected))
        slack += OTHER_TEXT.get(task, 0.0)
        assert fmean(found) == pytest.approx(fmean(expected), abs=slack), name
        for metric in TASKS[task].metrics:
            assert all(math.isfinite(result.metrics[metric]) for result in results)


@pytest.mark.parametrize("task", sorted(UNINFORMED))
def test_every_baseline_has_learnt(task: str) -> None:
    for name, known in RECORDED[task]["baselines"].items():
        scores = [score(task, loss) for loss in known["validation_loss"]]
        assert fmean(scores) < 0.95 * UNINFORMED[task], name


def test_memorised_labels_do_not_carry_over() -> None:
    for known in RECORDED["random-labels"]["baselines"].values():
        assert max(known["validation_accuracy"]) > 0.35
        assert 0.05 < fmean(known["test_accuracy"]) < 0.15


def test_scaling_each_weight_pays_on_badly_scaled_features() -> None:
    known = RECORDED["breast-cancer"]["baselines"]
    assert fmean(known["adam"]["validation_loss"]) < 0.6 * fmean(known["sgd"]["validation_loss"])


def test_momentum_pays_in_a_narrow_valley() -> None:
    for task in ("quadratic", "rosenbrock"):
        known = RECORDED[task]["baselines"]
        momentum, plain = (fmean(known[name]["validation_loss"]) for name in ("momentum", "sgd"))
        assert momentum < 1e-3 * plain
