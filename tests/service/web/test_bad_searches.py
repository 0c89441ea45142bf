"""Samplers and spaces that cannot be searched: the field's pointer, and what is allowed."""

from typing import Any

import pytest

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
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_searched_is_refused_where_it_stands(shared: Live, case: str) -> None:
    change, pointer, words = CASES[case]
    answer = shared.http.post("/jobs?validate_only=true", json={**TUNE, **change})
    assert answer.status_code == 422, answer.text
    found = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert pointer in found, found
    for word in words:
        assert word in found[pointer], found[pointer]


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
