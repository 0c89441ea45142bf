"""Aims that tell no trial from another, and bounds that none can keep."""

from typing import Any

import pytest

from service.candidates import faults
from service.jobs import JOB_SPEC
from tests.service.web.conftest import TUNE

BODY: dict[str, Any] = {
    **{name: value for name, value in TUNE.items() if name not in ("objective", "pruner")},
    "task": {"name": "wine"},
}
LOSS = {"metric": "validation_loss"}
RULE = {"optimizer": None, "rule": "sign(ema(g, beta))"}
BETA = {"beta": {"type": "float", "low": 0.5, "high": 0.99}}
RATE = {"lr": {"type": "float", "low": 0.01, "high": 1.0}}


def found(**changes: Any) -> dict[str, str]:
    job = JOB_SPEC.validate_python({**BODY, **changes})
    return {"/".join(map(str, where)): why for where, why in faults(job)}


@pytest.mark.parametrize(
    ("cost", "changes", "words"),
    [
        ("step", {}, "each that completes takes 300 steps"),
        ("cost_steps", {"protocol": {"seeds": 3}}, "takes 300 steps for each of 3 seeds"),
        ("cost_steps", {**RULE, "space": RATE}, "takes 300 steps"),
        ("slots", {}, "the rule keeps 2 numbers for each weight"),
        ("slots", {"optimizer": "muon", "space": RATE}, "no hyperparameter of the optimizer"),
    ],
)
def test_a_cost_that_is_the_same_for_all_trials_is_no_aim(
    cost: str, changes: dict[str, Any], words: str
) -> None:
    aimed = found(objectives=[LOSS, {"metric": cost}], **changes)
    assert words in aimed["objectives/1/metric"]
    assert aimed["objectives/1/metric"].endswith("leave it out, or name cost_seconds instead")
    bounded = found(constraints=[{"metric": cost, "at_most": 1000}], **changes)
    assert words in bounded["constraints/0/metric"]


@pytest.mark.parametrize(
    ("cost", "changes"),
    [
        ("cost_seconds", {}),
        ("cost_steps", {**RULE, "space": BETA}),
        (
            "cost_steps",
            {**RULE, "space": {
                "training.batch_size": {"type": "categorical", "choices": [8, 16]},
                "lr": {**RATE["lr"], "when": {"training.batch_size": [8]}},
            }},
        ),
        ("slots", {"optimizer": "lbfgs", "space": {
            "lr": RATE["lr"], "history_size": {"type": "int", "low": 1, "high": 9}}}),
    ],
)  # fmt: skip
def test_a_cost_that_differs_is_an_aim(cost: str, changes: dict[str, Any]) -> None:
    assert found(objectives=[LOSS, {"metric": cost}], **changes) == {}


@pytest.mark.parametrize(
    ("constraints", "where", "words"),
    [
        ([{**LOSS, "at_most": 0.1}, {**LOSS, "at_least": 0.2}], "constraints/1",
         "validation_loss at least 0.2 and, at index 0, validation_loss at most 0.1"),
        ([{**LOSS, "at_most": 0.1}, {**LOSS, "at_most": 0.2}], "constraints/1",
         "has an at_most at index 0"),
        ([{**LOSS, "at_most": -0.1}], "constraints/0/at_most", "is always 0 or more"),
        ([{"metric": "validation_accuracy", "at_least": 1.1}], "constraints/0/at_least",
         "is always from 0 to 1"),
        ([{"metric": "cost_seconds", "at_most": -1}], "constraints/0/at_most", "0 or more"),
    ],
)  # fmt: skip
def test_bounds_that_no_trial_can_keep_are_refused(
    constraints: list[dict[str, Any]], where: str, words: str
) -> None:
    assert words in found(constraints=constraints)[where]


def test_bounds_that_leave_room_are_taken() -> None:
    between = [{**LOSS, "at_least": 0.1}, {**LOSS, "at_most": 0.1}]
    more = [*between, {"metric": "validation_accuracy", "at_least": 1}]
    assert found(constraints=more) == {}
    r2 = {"task": {"name": "diabetes"}, "constraints": [{"metric": "validation_r2", "at_most": -9}]}
    assert found(**r2) == {}
    steps = [{"metric": "cost_steps", "at_most": 299}]
    assert "300 or more" in found(**RULE, space=BETA, constraints=steps)["constraints/0/at_most"]
