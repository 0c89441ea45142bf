"""Jobs over REST: what goes in comes out, is steered, and is written once."""

import math
import random

import httpx
import pytest

from dsl.outcome import Origin
from service.resources import JobState
from tests.service.web.conftest import DISCOVER, TUNE, Live, outcome, proposal


@pytest.mark.parametrize("body", [TUNE, DISCOVER])
def test_a_submitted_job_is_returned_and_found(live: Live, body: dict[str, object]) -> None:
    answer = live.http.post("/jobs", json=body)
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert job["state"] == "QUEUED"
    assert job["trials"] == {}
    assert job["spec"]["name"] == body["name"]
    assert live.http.get(f"/jobs/{job['id']}").json() == job
    assert live.http.get("/jobs").json() == {"items": [job], "next_page_token": None, "total": 1}


def test_the_schedule_may_be_a_name(live: Live) -> None:
    job = live.http.post("/jobs", json=TUNE).json()
    assert job["spec"]["schedule"] == {"name": "cosine", "settings": {}}


def test_validate_only_shows_the_defaults_and_writes_nothing(live: Live) -> None:
    before = live.dump()
    answer = live.http.post("/jobs?validate_only=true", json=DISCOVER)
    assert answer.status_code == 200
    assert answer.json()["valid"] is True
    assert answer.json()["spec"]["protocol"]["learning_rates"][0] == 1e-5
    assert "location" not in answer.headers
    assert live.dump() == before


def test_the_same_key_and_body_submit_once(live: Live) -> None:
    headers = {"Idempotency-Key": "7f1c"}
    first = live.http.post("/jobs", json=TUNE, headers=headers)
    second = live.http.post("/jobs", json=TUNE, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["location"] == first.headers["location"]
    assert live.http.get("/jobs").json()["total"] == 1


def test_the_same_key_with_another_body_is_refused(live: Live) -> None:
    headers = {"Idempotency-Key": "7f1c"}
    live.http.post("/jobs", json=TUNE, headers=headers)
    before = live.dump()
    answer = live.http.post("/jobs", json=DISCOVER, headers=headers)
    assert answer.status_code == 422
    assert "7f1c" in answer.json()["detail"]
    assert live.dump() == before


def test_pages_follow_one_another_without_gap_or_repeat(live: Live) -> None:
    ids = [live.submit({**TUNE, "name": f"job {n}"}) for n in range(7)]
    seen: list[str] = []
    params: dict[str, str] = {"page_size": "3"}
    while True:
        page = live.http.get("/jobs", params=params).json()
        assert page["total"] == 7 + (len(seen) > 0)
        seen += [job["id"] for job in page["items"]]
        if page["next_page_token"] is None:
            break
        if len(seen) == 3:
            live.submit({**TUNE, "name": "latecomer"})
        params["page_token"] = page["next_page_token"]
    assert sorted(seen) == sorted(ids)


def test_lists_are_filtered_and_ordered(live: Live) -> None:
    for name in ("b", "a", "c"):
        live.submit({**TUNE, "name": name})
    live.submit(DISCOVER)
    found = live.http.get("/jobs", params={"filter": "kind = tune", "order_by": "name desc"})
    assert [job["spec"]["name"] for job in found.json()["items"]] == ["c", "b", "a"]


def test_a_job_is_paused_resumed_cancelled_cloned_and_deleted(live: Live) -> None:
    job = live.submit(TUNE)
    states = [
        live.http.post(f"/jobs/{job}:{action}").json()["state"]
        for action in ("pause", "resume", "cancel")
    ]
    assert states == ["PAUSED", "QUEUED", "CANCELLED"]
    refused = live.http.post(f"/jobs/{job}:resume")
    assert refused.status_code == 409
    assert "CANCELLED" in refused.json()["detail"]
    assert "PAUSED" in refused.json()["detail"]
    clone = live.http.post(f"/jobs/{job}:clone", json={"name": "again"})
    assert clone.status_code == 201
    assert clone.json()["spec"]["name"] == "again"
    assert clone.json()["state"] == "QUEUED"
    assert live.http.post(f"/jobs/{job}:clone").json()["spec"]["name"].startswith(TUNE["name"])
    assert live.http.delete(f"/jobs/{clone.json()['id']}").status_code == 409
    assert live.http.delete(f"/jobs/{job}").status_code == 204
    assert live.http.get(f"/jobs/{job}").status_code == 404


def test_a_job_with_the_longest_name_can_be_cloned(live: Live) -> None:
    job = live.submit({**TUNE, "name": "x" * 64})
    for _ in range(3):
        clone = live.http.post(f"/jobs/{job}:clone")
        assert clone.status_code == 201, clone.text
        job = clone.json()["id"]
        assert len(clone.json()["spec"]["name"]) <= 64


def test_name_notes_and_budget_can_be_changed(live: Live) -> None:
    job = live.submit(TUNE)
    patch = {"name": "better", "notes": "look at lr\n<b>", "budget": 50}
    answer = live.http.patch(f"/jobs/{job}", json=patch)
    assert answer.status_code == 200, answer.text
    changed = live.http.get(f"/jobs/{job}").json()
    assert (changed["spec"]["name"], changed["notes"], changed["budget"]) == (
        "better", "look at lr\n<b>", 50,
    )  # fmt: skip
    live.http.patch(f"/jobs/{job}", json={"notes": ""})
    assert live.http.get(f"/jobs/{job}").json()["notes"] == ""
    assert live.http.get(f"/jobs/{job}").json()["budget"] == 50


def _run(live: Live, values: dict[int, tuple[float, float]]) -> str:
    """Submit a tune job and record trials: number -> (lr, loss)."""
    job = live.submit(TUNE)
    claim = live.claim()
    live.store.record_asked(
        claim, [proposal(n, lr=lr, weight_decay=1e-3) for n, (lr, _) in values.items()]
    )
    live.store.record_told(claim, [outcome(n, loss) for n, (_, loss) in values.items()], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    return job


def test_trials_curves_and_the_best_are_told(live: Live) -> None:
    job = _run(live, {0: (0.1, 0.5), 1: (0.2, 0.3), 2: (0.3, 0.4)})
    trials = live.http.get(f"/jobs/{job}/trials").json()
    assert [trial["number"] for trial in trials["items"]] == [0, 1, 2]
    assert trials["items"][1]["value"] == 0.3
    assert trials["items"][1]["parameters"] == {"lr": 0.2, "weight_decay": 1e-3}
    ordered = live.http.get(f"/jobs/{job}/trials", params={"order_by": "value"}).json()
    assert [trial["number"] for trial in ordered["items"]] == [1, 2, 0]
    few = live.http.get(f"/jobs/{job}/trials", params={"filter": "value < 0.45"}).json()
    assert [trial["number"] for trial in few["items"]] == [1, 2]
    assert live.http.get(f"/jobs/{job}/trials/2").json() == trials["items"][2]
    best = live.http.get(f"/jobs/{job}/best?count=2").json()["items"]
    assert [trial["number"] for trial in best] == [1, 2]
    curves = live.http.get(f"/jobs/{job}/curves?numbers=0,2").json()["items"]
    assert [curve["number"] for curve in curves] == [0, 2]
    assert curves[0]["points"] == [{"step": 300, "metrics": {"validation_loss": 0.5}}]
    found = live.http.get(f"/jobs/{job}").json()
    assert (found["state"], found["best"], found["trials"]) == ("SUCCEEDED", 0.3, {"COMPLETE": 3})


def test_importance_finds_the_parameter_that_matters(live: Live) -> None:
    job = live.submit(TUNE)
    claim = live.claim()
    draw = random.Random(0)
    points = [(10 ** draw.uniform(-5, 0), 10 ** draw.uniform(-6, -1)) for _ in range(60)]
    live.store.record_asked(
        claim, [proposal(n, lr=lr, weight_decay=wd) for n, (lr, wd) in enumerate(points)]
    )
    empty = live.http.get(f"/jobs/{job}/importance").json()
    assert empty["items"] == []
    assert "10 are needed" in empty["note"]
    told = [outcome(n, (math.log10(lr) + 2) ** 2) for n, (lr, _) in enumerate(points)]
    live.store.record_told(claim, told, None)
    shares = live.http.get(f"/jobs/{job}/importance").json()
    assert [share["name"] for share in shares["items"]] == ["lr", "weight_decay"]
    assert shares["items"][0]["importance"] > 0.8
    assert sum(share["importance"] for share in shares["items"]) == pytest.approx(1)
    assert shares["trials"] == 60


def test_a_discover_job_has_no_importance(live: Live) -> None:
    job = live.submit(DISCOVER)
    answer = live.http.get(f"/jobs/{job}/importance")
    assert answer.status_code == 409
    assert "discover" in answer.json()["detail"]


def test_openapi_tells_of_every_route_and_of_problems(live: Live) -> None:
    document = live.http.get(f"{live.url}/openapi.json").json()
    paths = document["paths"]
    for path, methods in {
        "/api/v1/jobs": {"get", "post"},
        "/api/v1/jobs/{job_id}": {"get", "patch", "delete"},
        "/api/v1/jobs/{job_id}/trials": {"get"},
        "/api/v1/jobs/{job_id}/events": {"get"},
        "/api/v1/rules": {"get", "post"},
        "/api/v1/rules/{rule_id}/export": {"get"},
        "/api/v1/optimizers": {"get"},
        "/api/v1/tasks": {"get"},
    }.items():
        assert methods <= paths[path].keys()
    refused = paths["/api/v1/jobs"]["post"]["responses"]["4XX"]["content"]
    assert refused.keys() == {"application/problem+json"}
    assert {"ProblemBody", "FieldError"} <= document["components"]["schemas"].keys()


def test_a_job_that_tunes_a_rule_by_its_text_is_kept_and_shown(live: Live) -> None:
    rule = "sign(g) * abs(ema(g, beta))"
    space = {"beta": {"type": "float", "low": 0.5, "high": 0.99}}
    body = {name: value for name, value in TUNE.items() if name != "optimizer"}
    job = live.submit({**body, "rule": rule, "space": space})
    spec = live.http.get(f"/jobs/{job}").json()["spec"]
    assert (spec["rule"], spec["optimizer"]) == (rule, None)
    page = httpx.get(f"{live.url}/jobs/{job}", trust_env=False).text
    assert "of the rule" in page
    assert "None" not in page
    assert "tune a rule" in httpx.get(f"{live.url}/", trust_env=False).text
    clone = live.http.post(f"/jobs/{job}:clone").json()
    assert clone["spec"]["rule"] == rule
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0, rule, beta=0.75)])
    live.store.record_told(claim, [outcome(0, 0.1)], None)
    (row,) = live.http.get("/rules").json()["items"]
    exported = live.http.get(f"/rules/{row['rule_id']}/export").text
    assert "beta=0.75" in exported


def test_a_trial_that_was_taken_over_says_from_where(live: Live) -> None:
    source = live.submit(DISCOVER | {"name": "the first job"})
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0)])
    live.store.record_told(claim, [outcome(0, 0.2)], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    job = live.submit(DISCOVER)
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0)])
    origin = {"cost_steps": 0, "origin": Origin(job_id=source, number=0)}
    live.store.record_told(claim, [outcome(0, 0.2).model_copy(update=origin)], None)
    trial = live.http.get(f"/jobs/{job}/trials").json()["items"][0]
    assert trial["origin"] == {"job_id": source, "number": 0}
    page = f"{live.url}/jobs/{job}/trials/0"
    link = f'Taken over from <a href="/jobs/{source}/trials/0">trial 0 of the first job</a>'
    assert link in live.http.get(page).text
    assert "1 taken over from earlier trials" in live.http.get(f"{live.url}/jobs/{job}").text
    live.store.delete_job(source)
    assert f"trial 0 of job {source}, deleted since" in live.http.get(page).text
