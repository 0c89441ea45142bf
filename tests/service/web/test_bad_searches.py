"""Samplers and spaces that cannot be searched: the field's pointer, and what is allowed."""

from typing import Any

import pytest

from dsl.candidate import Candidate
from service.assembly import strategy_of
from service.jobs import JOB_SPEC
from tests.service.web.conftest import TUNE, Live

KIND = {"type": "categorical", "choices": [0.5, 0.9]}
LR = {"type": "float", "low": 0.1, "high": 1.0}
STEPS = {"type": "float", "low": 0.1, "high": 1.0, "step": 0.1}

CASES: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "unknown sampler": (
        {"sampler": {"name": "tbe"}},
        "#/sampler/name",
        ("tpe", "gp", "cmaes", "nsga2", "nsga3", "qmc", "random", "grid", "brute_force"),
    ),
    "a setting of another sampler": (
        {"sampler": {"name": "cmaes", "startup_trials": 3}},
        "#/sampler/startup_trials",
        ("generation", "sigma"),
    ),
    "a sequence that is none": (
        {"sampler": {"name": "qmc", "sequence": "van der Corput"}},
        "#/sampler/sequence",
        ("sobol", "halton"),
    ),
    "brute force without steps": (
        {"sampler": {"name": "brute_force"}, "space": {"lr": LR}},
        "#/sampler/name",
        ("lr", "step"),
    ),
    "a grid of too many points": (
        {"sampler": {"name": "grid", "points": 1000}, "space": {"lr": LR, "weight_decay": LR}},
        "#/sampler/name",
        ("1,000,000", "100,000"),
    ),
    "a grid with conditions": (
        {"sampler": {"name": "grid"},
         "space": {"beta1": KIND, "lr": {**LR, "when": {"beta1": [0.5]}}}},
        "#/space/lr/when",
        ("brute_force",),
    ),
    "a condition on nothing": (
        {"space": {"lr": {**LR, "when": {"beta1": [0.5]}}, "beta2": KIND}},
        "#/space/lr/when/beta1",
        ("allowed: beta2",),
    ),
    "a condition that never holds": (
        {"space": {"lr": {**LR, "when": {"beta1": [0.5, 0.6]}}, "beta1": KIND}},
        "#/space/lr/when/beta1/1",
        ("never 0.6",),
    ),
    "a condition on a range": (
        {"space": {"beta1": {**KIND, "when": {"lr": [0.5]}}, "lr": LR}},
        "#/space/beta1/when/lr",
        ("a step",),
    ),
    "conditions in a circle": (
        {"space": {"lr": {**STEPS, "when": {"beta1": [0.5]}},
                   "beta1": {**KIND, "when": {"lr": [0.5]}}}},
        "#/space/beta1/when",
        ("circle",),
    ),
    "a condition of training that is none": (
        {"space": {"training.momentum": LR}},
        "#/space/training.momentum",
        ("schedule.name", "weight_decay.kind", "training.batch_size"),
    ),
    "a batch size without its first name": (
        {"space": {"batch_size": {"type": "int", "low": 16, "high": 64}}},
        "#/space/batch_size",
        ("did you mean 'training.batch_size'", "schedule.name", "schedule.SETTING", "beta1",
         "weight_decay.kind"),
    ),
    "a batch size that is no parameter": (
        {"space": {"training.batch_size": 64}},
        "#/space/training.batch_size",
        ("got 64", '"type": "int", "low": 16'),
    ),
    **{
        f"a step of {step} with {case}": (
            {"space": {"lr": {**LR, "step": step}, "beta1": KIND}, **change},
            "#/space/lr/step",
            (f"the step is {step}", "allowed: from 2.220446049250313e-16 to 0.9", "leave step out"),
        )
        for step in (5e-324, 1e-300, 1e-20)
        for case, change in {
            "tpe": {},
            "a grid": {"sampler": {"name": "grid"}},
            "brute force": {"sampler": {"name": "brute_force"}},
            "a point": {"enqueue": [{"lr": 0.5}]},
            "trials to learn from": {
                "warm_start": {"trials": [{"parameters": {"lr": 0.5, "beta1": 0.5}, "value": 1}]},
            },
            "a condition on it": {
                "space": {"lr": {**LR, "step": step}, "beta1": {**KIND, "when": {"lr": [0.5]}}},
            },
        }.items()
    },
    "a step beyond the range": (
        {"space": {"lr": {**LR, "step": 0.95}}},
        "#/space/lr/step",
        ("the step is 0.95", "from 0.1 leads beyond 1", "up to 0.9", "leave step out"),
    ),
    **{
        f"a step of {len(str(step))} digits beyond the range of integers": (
            {"space": {"schedule.warmup": {"type": "int", "low": 0, "high": 50, "step": step},
                       "lr": {**LR, "when": {"schedule.warmup": [0.0]}}}},
            "#/space/schedule.warmup/step",
            (f"the step is {str(step)[:60]}", "beyond 50", "up to 50"),
        )
        for step in (51, 10**300, 10**400)
    },
    "a schedule that is no parameter": (
        {"space": {"schedule.name": "cosine"}},
        "#/space/schedule.name",
        ('got "cosine"', '"type": "categorical", "choices": ["constant", "cosine"]'),
    ),
    "an unknown schedule": (
        {"space": {"schedule.name": {"type": "categorical", "choices": ["cosine", "zigzag"]}}},
        "#/space/schedule.name/choices/1",
        ("'zigzag'", "constant", "sgdr"),
    ),
    "a kind of decay that is none": (
        {"space": {"weight_decay.kind": {"type": "categorical", "choices": ["l3"]}}},
        "#/space/weight_decay.kind/choices/0",
        ("'l3'", "decoupled, l2, none, paper"),
    ),
    "a schedule's setting that not all of them have": (
        {"space": {"schedule.name": {"type": "categorical", "choices": ["cosine", "exponential"]},
                   "schedule.gamma": LR}},
        "#/space/schedule.gamma",
        ("'cosine' has no setting 'gamma'", '"when"'),
    ),
    "a schedule's setting out of range": (
        {"space": {"schedule.warmup": {"type": "int", "low": -5, "high": 50}}},
        "#/space/schedule.warmup/low",
        ("warmup = -5",),
    ),
    "a batch of parts": (
        {"space": {"training.batch_size": {"type": "categorical", "choices": [32, 0.5]}}},
        "#/space/training.batch_size/choices/1",
        ("0.5", "whole numbers from 1 to 65536"),
    ),
    "kinds of decay of another library's optimizer": (
        {"optimizer": "soap",
         "space": {"weight_decay.kind": {"type": "categorical", "choices": ["l2", "none"]}}},
        "#/space/weight_decay.kind",
        ("its own way",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_searched_is_refused_where_it_stands(shared: Live, case: str) -> None:
    change, pointer, words = CASES[case]
    found = shared.faults({**TUNE, **change})
    assert pointer in found, found
    for word in words:
        assert word in found[pointer], found[pointer]


def test_a_step_may_be_as_wide_as_the_range_as_written(shared: Live) -> None:
    space = {"lr": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.2}}
    body = {**TUNE, "space": space, "enqueue": [{"lr": 0.1}, {"lr": 0.3}]}
    answer = shared.http.post("/jobs?validate_only=true", json=body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "tpe", "startup_trials": 5, "multivariate": True},
        {"name": "gp"},
        {"name": "cmaes", "generation": 8, "sigma": 0.25},
        {"name": "nsga2", "generation": 20, "crossover": 0.8, "mutation": 0.1},
        {"name": "nsga3"},
        {"name": "qmc", "sequence": "halton"},
        {"name": "grid", "points": 20},
        {"name": "random", "startup_trials": 10},
        {"startup_trials": 5},
    ],
)
def test_every_sampler_is_taken_by_name_with_its_settings(
    shared: Live, sampler: dict[str, Any]
) -> None:
    answer = shared.http.post("/jobs?validate_only=true", json={**TUNE, "sampler": sampler})
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"]["sampler"]["name"] == sampler.get("name", "tpe")


def test_schedule_decay_and_batch_size_are_searched_like_any_number(shared: Live) -> None:
    kinds = ["constant", "exponential"]
    space = {
        "schedule.name": {"type": "categorical", "choices": kinds},
        "schedule.gamma": {**LR, "when": {"schedule.name": ["exponential"]}},
        "weight_decay.kind": {"type": "categorical", "choices": ["l2", "paper"]},
        "training.batch_size": {"type": "categorical", "choices": [16, 64]},
    }
    for body in (
        {**TUNE, "space": space},
        {**TUNE, "space": space, "rule": "g", "optimizer": None},
    ):
        answer = shared.http.post("/jobs?validate_only=true", json=body)
        assert answer.status_code == 200, answer.text
    job = JOB_SPEC.validate_python({**TUNE, "space": space})
    for proposal in strategy_of(job).ask(12):
        point, candidate = proposal.parameters, proposal.candidate
        assert candidate.schedule.name == point["schedule.name"]
        settings = {"gamma": point["schedule.gamma"]} if "schedule.gamma" in point else {}
        assert candidate.schedule.settings == settings
        assert (candidate.schedule.name == "exponential") == bool(settings)
        assert candidate.decay == point["weight_decay.kind"]
        assert candidate.batch_size == point["training.batch_size"]
        assert isinstance(point["training.batch_size"], int)  # 16 is shown as 16, not 16.0
        assert Candidate.model_validate_json(candidate.model_dump_json()) == candidate
        assert candidate.hyperparameters == {}
