"""Several objectives and constraints, from a job's body to its front."""

import csv
from typing import Any

import pytest

from dsl.outcome import Outcome, TrialState
from service.assembly import strategy_of
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC, TuneJob
from service.resources import JobState
from tests.service.web.conftest import DISCOVER, TUNE, Live, outcome, proposal

BODY: dict[str, Any] = {
    **{name: value for name, value in TUNE.items() if name not in ("objective", "pruner")},
    "objectives": [
        {"metric": "validation_loss"},
        {"metric": "cost_seconds"},
    ],
    "constraints": [{"metric": "validation_accuracy", "at_least": 0.5}],
}
LOSSES = (0.5, 0.2, 0.4, 0.1, 0.6)
SECONDS = (1.0, 2.0, 3.0, 4.0, 0.5)


def told(number: int, **changes: Any) -> Outcome:
    update = {"cost_seconds": SECONDS[number], **changes}
    return outcome(number, LOSSES[number]).model_copy(update=update)


def searched(live: Live, body: dict[str, Any]) -> str:
    """Write a job with five points, of which the fourth breaks a bound; return its id."""
    job_id, claim = live.submit(body), live.claim()
    live.store.record_asked(claim, [proposal(n, lr=0.1, weight_decay=0.01) for n in range(5)])
    live.store.record_told(claim, [told(n) for n in (0, 1, 2)], None)
    broken = {"state": TrialState.INFEASIBLE, "reason": "validation_accuracy is 0.1"}
    live.store.record_told(claim, [told(3, **broken), told(4)], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    return job_id


def test_the_first_objective_is_the_jobs_and_the_rest_reaches_searcher_and_worker() -> None:
    job = JOB_SPEC.validate_python(BODY)
    assert isinstance(job, TuneJob)
    assert job.objective == job.objectives[0]
    assert JOB_SPEC.validate_json(job.model_dump_json()) == job
    assert evaluation_of(job).constraints == job.constraints
    strategy = strategy_of(job)
    strategy.ask(2)
    strategy.tell([told(0), told(1)])


def test_the_front_is_shown_and_taken_home(live: Live) -> None:
    job_id = searched(live, BODY)
    found = live.http.get(f"/jobs/{job_id}/front").json()
    assert [each["metric"] for each in found["objectives"]] == ["validation_loss", "cost_seconds"]
    assert [(e["trial"]["number"], e["values"]) for e in found["items"]] == [
        (1, [0.2, 2.0]),
        (0, [0.5, 1.0]),
        (4, [0.6, 0.5]),
    ]
    assert live.http.get(f"/jobs/{job_id}").json()["best"] == 0.2, "what breaks a bound is no best"
    answer = live.http.get(f"/jobs/{job_id}/front?format=csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="front-{job_id}.csv"'
    rows = list(csv.reader(answer.text.splitlines()))
    assert rows[0] == ["trial", "validation_loss", "cost_seconds", "lr", "weight_decay"]
    assert rows[1] == ["1", "0.2", "2.0", "0.1", "0.01"]
    page = live.http.get(f"{live.url}/jobs/{job_id}").text
    assert "Trials that no other beats" in page
    assert "order_by=metrics.validation_accuracy" in page, "what a bound is about has its column"
    assert "<i>validation accuracy</i> must be at least 0.5" in page


def test_a_front_grows_with_the_job(live: Live) -> None:
    job_id, claim = live.submit(BODY), live.claim()
    live.store.record_asked(claim, [proposal(n, lr=0.1) for n in range(5)])
    for number, front in ((0, [0]), (2, [2, 0]), (1, [1, 0]), (4, [1, 0, 4])):
        live.store.record_told(claim, [told(number)], None)
        items = live.http.get(f"/jobs/{job_id}/front").json()["items"]
        assert [each["trial"]["number"] for each in items] == front


def test_a_job_with_one_objective_has_no_front(live: Live) -> None:
    for body in (TUNE, DISCOVER):
        job_id = live.submit(body)
        answer = live.http.get(f"/jobs/{job_id}/front")
        assert answer.status_code == 409
        assert f"GET /jobs/{job_id}/best" in answer.json()["detail"]
        assert "front" not in live.http.get(f"{live.url}/jobs/{job_id}").text


def test_another_jobs_trials_bring_their_figures(live: Live) -> None:
    seconds = [{"metric": "cost_seconds", "at_most": 3.5}]
    earlier = searched(live, {**BODY, "constraints": seconds})
    job_id = live.submit({**BODY, "warm_start": {"job": earlier}})
    spec = live.store.job(job_id).spec
    assert isinstance(spec, TuneJob)
    assert spec.warm_start is not None
    assert [known.value for known in spec.warm_start.trials] == [0.1, 0.2, 0.4, 0.5, 0.6]
    best = {"cost_seconds": 4.0, "validation_accuracy": 0.9}
    assert spec.warm_start.trials[0].figures == best, "what broke the other job's bounds is known"
    strategy_of(spec).ask(1)


def test_a_list_of_one_objective_is_that_objective(live: Live) -> None:
    aim = {"metric": "validation_accuracy", "direction": "maximize"}
    for body in ({"objectives": [aim]}, {"objectives": [aim], "objective": aim}):
        job_id = live.submit({**BODY, **body})
        job = live.http.get(f"/jobs/{job_id}").json()
        assert (job["spec"]["objective"], job["spec"]["objectives"]) == (aim, [])
        assert live.http.get(f"/jobs/{job_id}/front").status_code == 409
        assert "accuracy" in live.http.get(f"{live.url}/jobs/{job_id}").text
        shown = live.http.post("/jobs?validate_only=true", json=job["spec"])
        assert shown.json()["spec"] == job["spec"], "and a kept job can be submitted again"


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"objectives": [{"metric": "validation_loss"}, {"metric": "step"}]},
         "#/objectives/1/metric", "step is the same for all trials of this job"),
        ({"constraints": [{"metric": "validation_loss", "at_most": -1}]},
         "#/constraints/0/at_most", "no trial can keep this"),
        ({"objectives": [{"metric": "cost_seconds"}, {"metric": "validation_loss"}]},
         "#/objectives/0/metric", "no metric 'cost_seconds'"),
        ({"objectives": [{"metric": "validation_loss"}, {"metric": "time"}]},
         "#/objectives/1/metric", "allowed: cost_seconds, cost_steps, slots, step, train_loss"),
        ({"objectives": [{"metric": "validation_loss"}, {"metric": "validation_accuracy"}]},
         "#/objectives/1/direction", "set direction to 'maximize'"),
        ({"objectives": [{"metric": "validation_loss"}] * 2}, "#/objectives/1", "already"),
        ({"objective": {"metric": "train_loss"}}, "#/objective", "leave one of them out"),
        ({"sampler": {"name": "cmaes"}}, "#/sampler/name", "cmaes knows one objective"),
        ({"pruner": {"name": "successive_halving"}}, "#/pruner/name", "one objective"),
        ({"constraints": [{"metric": "test_loss", "at_most": 1}]},
         "#/constraints/0/metric", "no metric or cost 'test_loss'"),
        ({"constraints": [{"metric": "step"}]}, "#/constraints/0", "either at_most or at_least"),
        ({"warm_start": {"trials": [{"parameters": {"lr": 0.1, "weight_decay": 0.01},
                                     "value": 0.5, "figures": {"cost_seconds": 1}}]}},
         "#/warm_start/trials/0/figures", "validation_accuracy must be there"),
    ],
)  # fmt: skip
def test_aims_that_cannot_be_searched_are_refused(
    shared: Live, change: dict[str, Any], pointer: str, words: str
) -> None:
    found = shared.faults({**BODY, **change})
    assert words in found[pointer], found
