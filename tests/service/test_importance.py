"""Parameter importance, apart from REST."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from dsl.candidate import Stage
from dsl.outcome import TrialState
from service.importance import importance_of
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from service.resources import Trial

SPACE = {
    "lr": {"type": "float", "low": 1e-4, "high": 1, "log": True},
    "weight_decay": {"type": "float", "low": 0, "high": 1, "step": 0.3},
    "beta1": {"type": "categorical", "choices": [0.8, 0.9, 0.95]},
    "beta2": {"type": "int", "low": 0, "high": 10, "step": 3},
}


def spec(direction: str = "minimize") -> TuneJob | DiscoverJob:
    return JOB_SPEC.validate_python(
        {
            "kind": "tune", "name": "x", "task": {"name": "digits-mlp"}, "optimizer": "adamw",
            "space": SPACE, "budget": {"trials": 100},
            "objective": {"metric": "validation_accuracy", "direction": direction},
        }
    )  # fmt: skip


def trial(number: int, parameters: dict[str, Any], value: float | None, **more: Any) -> Trial:
    fields: dict[str, Any] = {
        "job_id": "j", "number": number, "state": TrialState.COMPLETE, "stage": Stage.SEARCH,
        "task": "digits-mlp", "rule_id": "r", "rule": "g", "parameters": parameters, "value": value,
        "created": datetime.now(UTC), **more,
    }  # fmt: skip
    return Trial(**fields)


def trials(count: int, sign: float) -> list[Trial]:
    draw = random.Random(1)
    found = []
    for number in range(count):
        point = {
            "lr": 10 ** draw.uniform(-4, 0),
            "weight_decay": 0.3 * draw.randrange(4),
            "beta1": draw.choice([0.8, 0.9, 0.95]),
            "beta2": 3 * draw.randrange(4),
        }
        found.append(trial(number, point, sign * (point["beta1"] != 0.9)))
    return found


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_the_parameter_that_decides_comes_first(direction: str, sign: float) -> None:
    shares = importance_of(spec(direction), trials(100, sign))
    assert shares.items[0].name == "beta1"
    assert sum(share.importance for share in shares.items) == pytest.approx(1)
    assert {share.name for share in shares.items} == SPACE.keys()


def test_trials_without_a_value_or_point_are_left_out() -> None:
    good = trials(12, 1.0)
    others = [
        trial(100, good[0].parameters, None),
        trial(101, good[0].parameters, 0.5, state=TrialState.PRUNED),
        trial(102, {}, 0.5),
    ]
    assert importance_of(spec(), [*good, *others]).trials == 12


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_equal_values_are_said_to_be(direction: str, others: int) -> None:
    best = 0.5 if direction == "minimize" else 2.0
    same = [
        found.model_copy(update={"value": best if found.number < others else 1.0})
        for found in trials(20, 1.0)
    ]
    answer = importance_of(spec(direction), same)
    assert answer.items == ()
    assert "same value" in (answer.note or "")


def test_too_few_trials_are_said_to_be() -> None:
    answer = importance_of(spec(), trials(9, 1.0))
    assert answer.items == ()
    assert answer.note == "9 trials are COMPLETE; 10 are needed"


def test_parameters_under_a_condition_are_left_out_and_the_others_weighed() -> None:
    body = spec().model_dump(mode="json")
    body["space"]["schedule.warmup"] = {
        "type": "int", "low": 0, "high": 50, "when": {"beta1": [0.9]},
    }  # fmt: skip
    found = trials(100, 1.0)
    for each in found:
        if each.parameters["beta1"] == 0.9:
            each.parameters["schedule.warmup"] = each.number % 50
    shares = importance_of(JOB_SPEC.validate_python(body), found)
    assert shares.trials == 100
    assert shares.items[0].name == "beta1"
    assert {share.name for share in shares.items} == SPACE.keys()
