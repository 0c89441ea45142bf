"""Points that a person wants tried: with the job, and added later."""

import json
from typing import Any

import pytest

from dsl.outcome import Outcome, TrialState
from service.assembly import strategy_of
from service.jobs import TuneJob
from service.resources import JobState
from tests.service.web.conftest import DISCOVER, TUNE, Live

SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
    "schedule.name": {"type": "categorical", "choices": ["constant", "exponential"]},
    "schedule.gamma": {
        "type": "float", "low": 0.5, "high": 1, "when": {"schedule.name": ["exponential"]},
    },
    "schedule.warmup": {"type": "int", "low": 0, "high": 50, "step": 10},
}  # fmt: skip
WHOLE = {"lr": 0.01, "schedule.name": "exponential", "schedule.gamma": 0.9, "schedule.warmup": 20}
BODY = {**TUNE, "space": SPACE, "budget": {"trials": 20, "steps": 100}}


def test_points_are_asked_first_and_added_ones_next(live: Live) -> None:
    job_id = live.submit({**BODY, "enqueue": [WHOLE, {"lr": 0.5}]})
    spec = live.store.job(job_id).spec
    assert isinstance(spec, TuneJob)
    strategy = strategy_of(spec)
    asked = strategy.ask(4)
    assert asked[0].parameters == WHOLE
    assert asked[1].parameters["lr"] == 0.5
    assert asked[1].parameters.keys() >= {"schedule.name", "schedule.warmup"}
    told = [
        Outcome(number=p.number, state=TrialState.COMPLETE, metrics={"validation_loss": 1.0})
        for p in asked[:3]
    ]
    strategy.tell(told)
    answer = live.http.post(f"/jobs/{job_id}/trials", json={"enqueue": [{"lr": 0.25}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"]["enqueue"] == [WHOLE, {"lr": 0.5}, {"lr": 0.25}]
    spec = live.store.job(job_id).spec
    assert isinstance(spec, TuneJob)
    strategy.enqueue(spec.enqueue)
    again = strategy_of(spec)
    again.restore([*zip(asked[:3], told, strict=True), (asked[3], None)], None)
    following = again.ask(3)
    assert following[0] == asked[3]
    assert following[1].parameters["lr"] == 0.25
    assert following[1].number == 4
    assert following[2].parameters["lr"] not in (0.01, 0.5, 0.25)
    strategy.enqueue(spec.enqueue)
    assert strategy.ask(2) == following[1:], "and so where the job went on running"


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"enqueue": [{"lr": 0.1}, {"lr": 2}]}, "#/enqueue/1/lr", "from 1e-05 to 1"),
        ({"enqueue": [{"beta1": 0.9}]}, "#/enqueue/0/beta1", "allowed: lr, schedule.gamma"),
        ({"enqueue": [{"schedule.name": "cosine"}]}, "#/enqueue/0/schedule.name",
         "allowed: constant, exponential"),
        ({"enqueue": [{"schedule.gamma": 0.9}]}, "#/enqueue/0/schedule.gamma",
         "depends on schedule.name"),
        ({"enqueue": [{"schedule.warmup": 15}]}, "#/enqueue/0/schedule.warmup",
         "whole numbers from 0 to 50 in steps of 10"),
        ({"enqueue": [{"lr": 0.1}] * 21}, "#/enqueue", "budget of 20"),
        ({"enqueue": [{"lr": 0.1}], "sampler": {"name": "grid"},
          "space": {"lr": SPACE["lr"]}}, "#/enqueue", "tries every point"),
    ],
)  # fmt: skip
def test_points_outside_the_space_are_refused(
    shared: Live, change: dict[str, Any], pointer: str, words: str
) -> None:
    found = shared.faults({**BODY, **change})
    assert words in found[pointer], found


def test_a_point_is_written_into_the_page(live: Live) -> None:
    job_id = live.submit(BODY)
    page, form = f"{live.url}/jobs/{job_id}", f"{live.url}/jobs/{job_id}/enqueue"
    assert 'name="schedule.gamma"' in live.http.get(page).text
    written = {name: f" {value} " for name, value in WHOLE.items()}
    answer = live.http.post(form, data=written)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job_id}")
    assert live.http.post(form, data={"lr": "1e-2", "schedule.gamma": " "}).status_code == 303
    assert live.store.points(job_id) == (WHOLE, {"lr": 0.01})
    for wrong, words in (
        ({"lr": "2"}, "point: lr cannot be 2; allowed: from 1e-05 to 1"),
        ({"lr": "nan"}, "point: lr cannot be nan; allowed: from 1e-05 to 1"),
        ({"lr": "1e999"}, "point: lr cannot be 1e999; allowed: from 1e-05 to 1"),
        ({"lr": "9" * 401}, f"point: lr cannot be {'9' * 60}...; allowed: from 1e-05 to 1"),
        ({"lr": "9" * 5000}, f"point: lr cannot be {'9' * 60}...; allowed: from 1e-05 to 1"),
        ({}, "must have at least 1 entry"),
    ):
        refused = live.http.post(form, data=wrong)
        assert refused.status_code == 422
        assert words in refused.text
    live.store.request(job_id, "cancel")
    assert live.http.post(form, data={"lr": "0.1"}).status_code == 409
    assert form not in live.http.get(page).text


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "null", "true", "[]", '"x"', "2"])
def test_a_bad_value_is_answered_alike_with_a_job_and_later(shared: Live, value: str) -> None:
    job_id = shared.submit(BODY)
    headers = {"Content-Type": "application/json"}
    answers = []
    for path, body in (("/jobs", BODY), (f"/jobs/{job_id}/trials", {})):
        text = json.dumps({**body, "enqueue": [{"lr": "VALUE"}]}).replace('"VALUE"', value)
        answers.append(shared.http.post(path, content=text, headers=headers))
    assert [answer.status_code for answer in answers] == [422, 422]
    first, second = (answer.json()["errors"] for answer in answers)
    assert first == second
    assert [error["pointer"] for error in first] == ["#/enqueue/0/lr"], "one fault, one sentence"
    wanted = "lr cannot be" if value in ('"x"', "2") else "must be a finite number, or a text"
    assert first[0]["detail"].startswith(wanted)


def test_points_are_added_only_where_they_can_be_tried(live: Live) -> None:
    job_id = live.submit({**BODY, "enqueue": [WHOLE]})
    wrong = live.http.post(f"/jobs/{job_id}/trials", json={"enqueue": [{"lr": 0.1}, {"lr": 2}]})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["pointer"] == "#/enqueue/1/lr"
    claim = live.claim()
    running = live.http.post(f"/jobs/{job_id}/trials", json={"enqueue": [{"lr": 0.1}]})
    assert running.status_code == 200, running.text
    assert live.store.points(job_id) == (WHOLE, {"lr": 0.1})
    spec = live.store.job(job_id).spec
    live.store.record_asked(claim, strategy_of(spec).ask(20))
    more = live.http.post(f"/jobs/{job_id}/trials", json={"enqueue": [{"lr": 0.1}] * 30})
    assert more.status_code == 200, "points come on top of a budget that is spent"
    most = live.http.post(f"/jobs/{job_id}/trials", json={"enqueue": [{"lr": 0.1}] * 1000})
    assert most.status_code == 422
    assert "at most 1000" in most.text
    strategy = strategy_of(live.store.job(job_id).spec)
    assert len(strategy.ask(100)) == 32, "the points, and none besides"
    live.store.finish(claim, JobState.CANCELLED)
    ended = live.http.post(f"/jobs/{job_id}/trials", json={"enqueue": [{"lr": 0.1}]})
    assert ended.status_code == 409
    assert "submit a job that starts from it" in ended.text
    other = live.submit(DISCOVER)
    answer = live.http.post(f"/jobs/{other}/trials", json={"enqueue": [{"lr": 0.1}]})
    assert answer.status_code == 409
    assert "discover" in answer.text
