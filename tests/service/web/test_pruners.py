"""Which pruners a job may name, and what follows for its populations."""

from typing import Any

import pytest

from dsl.candidate import Stage
from service.assembly import population_of
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC
from tests.service.web.conftest import DISCOVER, TUNE, Live

HYPERBAND = {"name": "hyperband", "reduction": 2, "min_steps": 20}


@pytest.mark.parametrize(
    ("pruner", "trials", "population"),
    [
        ({"name": "successive_halving", "min_steps": 30}, 8, 3),
        ({"name": "successive_halving", "min_steps": 30}, 2, 2),
        ({"name": "hyperband", "min_steps": 30}, 8, 5),
        ({"name": "hyperband", "min_steps": 30}, 40, 5),
        ({"name": "none"}, 8, 1),
    ],
)
def test_a_small_job_trains_enough_together_for_its_pruner(
    pruner: dict[str, Any], trials: int, population: int
) -> None:
    budget = {"trials": trials, "steps": 100}
    job = JOB_SPEC.validate_python({**TUNE, "pruner": pruner, "budget": budget})
    assert population_of(job, concurrent=2) == population


@pytest.mark.parametrize(
    ("pruner", "population"),
    [(HYPERBAND, 20), ({"name": "asha"}, 1), ({"name": "median_stopping", "min_trials": 5}, 1)],
)
def test_a_tune_job_names_its_pruner(shared: Live, pruner: dict[str, Any], population: int) -> None:
    body = {**TUNE, "pruner": pruner}
    answer = shared.http.post("/jobs?validate_only=true", json=body)
    assert answer.status_code == 200, answer.text
    job = JOB_SPEC.validate_python(answer.json()["spec"])
    assert evaluation_of(job).protocols[Stage.SEARCH].pruner.name == pruner["name"]
    assert population_of(job, concurrent=2) == population


def test_rules_are_compared_inside_populations_alone(shared: Live) -> None:
    hyper = {**DISCOVER, "protocol": {"pruner": HYPERBAND}}
    assert shared.http.post("/jobs?validate_only=true", json=hyper).status_code == 200
    found = shared.faults({**DISCOVER, "protocol": {"pruner": {"name": "asha"}}})
    assert "'hyperband'" in found["#/protocol/pruner/name"]


def test_what_is_compared_across_populations_is_trained_alone(shared: Live) -> None:
    found = shared.faults({**TUNE, "pruner": {"name": "asha"}, "population": 8})
    assert "trained by itself" in found["#/population"]


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"pruner": {"name": "successive_halving", "min_steps": 300}}, "#/pruner/min_steps",
         "min_steps is 300 and a run has 300 steps, so successive_halving stops none; "
         "give at most 299, or more steps"),
        ({"pruner": {"name": "asha"}, "budget": {"trials": 9, "steps": 20}}, "#/pruner/min_steps",
         "min_steps is 30 and a run has 20 steps"),
        ({"pruner": {**HYPERBAND, "min_steps": 151}}, "#/pruner/min_steps", "at most 150"),
        ({"pruner": {"name": "median_stopping", "min_trials": 200}}, "#/pruner/min_trials",
         "it waits for 200 other trials, of 200 in all, so none is stopped; give fewer"),
        ({"pruner": HYPERBAND, "population": 1}, "#/population", "together; give 4 or more"),
        ({"pruner": HYPERBAND, "population": 3}, "#/population", "together; give 4 or more"),
        (
            {"pruner": {"name": "successive_halving"}, "population": 1},
            "#/population",
            "trained together; give 2 or more",
        ),
    ],
)  # fmt: skip
def test_a_pruner_that_would_stop_nothing_is_refused(
    shared: Live, change: dict[str, Any], where: str, words: str
) -> None:
    assert words in shared.faults({**TUNE, **change})[where]


def test_a_pruner_of_rules_that_would_stop_nothing_is_refused(shared: Live) -> None:
    found = shared.faults({**DISCOVER, "protocol": {"pruner": HYPERBAND, "steps": 30}})
    assert "a run has 30 steps" in found["#/protocol/pruner/min_steps"]
    last = {"pruner": {**HYPERBAND, "min_steps": 150}}
    assert shared.http.post("/jobs?validate_only=true", json={**TUNE, **last}).status_code == 200
