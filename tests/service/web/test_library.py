"""Optimizers of other libraries over REST and on the pages: listed, tuned, never exported."""

import sys
from typing import Any

import pytest

from optimizers.library import LIBRARY
from service.resources import JobState
from service.store.rules import identity
from tests.service.web.conftest import DISCOVER, TUNE, Live, outcome, proposal

LR = {"type": "float", "low": 1e-4, "high": 1, "log": True}
SOAP = "pytorch_optimizer.SOAP"


def library_tune(**space: Any) -> dict[str, Any]:
    return {**TUNE, "optimizer": "soap", "space": {"lr": LR, **space}}


def test_they_are_listed_as_what_they_are(live: Live) -> None:
    listed = {entry["name"]: entry for entry in live.http.get("/optimizers").json()["items"]}
    assert listed.keys() >= LIBRARY.keys()
    soap, adam = listed["soap"], listed["adam"]
    assert (soap["library"], soap["installed"], soap["rule"]) == ("pytorch_optimizer", True, SOAP)
    assert (soap["decay"], soap["weight_decay"], soap["latex"]) == ("own", 0.01, "")
    assert soap["hyperparameters"]["beta1"] == 0.95
    assert adam.get("library") is None
    assert adam["rule"] != "adam"


def test_a_tune_job_names_one_and_its_numbers(live: Live) -> None:
    body = library_tune(weight_decay=LR, beta1={"type": "float", "low": 0.5, "high": 0.99})
    job = live.http.get(f"/jobs/{live.submit(body)}").json()
    assert job["spec"]["optimizer"] == "soap"
    baselines = {"baselines": ["adamw", "muon", "prodigy"]}
    live.submit({**DISCOVER, "comparison": baselines})


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (library_tune(beta3=LR), "#/space/beta3", "no parameter of soap 'beta3'; allowed: beta1"),
        (library_tune(precondition_frequency=LR), "#/space/precondition_frequency", "type 'int'"),
        (
            {**library_tune(), "optimizer": "soup"},
            "#/optimizer",
            "'soup' (did you mean 'soap'?); allowed",
        ),
        (
            {**DISCOVER, "comparison": {"baselines": ["sgd", "moon"]}},
            "#/comparison/baselines",
            "'moon' (did you mean 'muon'?)",
        ),
    ],
)
@pytest.mark.parametrize("address", ["/jobs", "/jobs?validate_only=true"])
def test_what_it_does_not_have_is_refused(
    shared: Live, address: str, body: Any, pointer: str, words: str
) -> None:
    before = shared.dump()
    answer = shared.http.post(address, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["pointer"].startswith(pointer)
    assert words in error["detail"]
    assert shared.dump() == before


def test_without_the_library_the_package_is_named(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = live.submit(library_tune())
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    answer = live.http.post("/jobs", json=library_tune())
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "#/optimizer"
    assert "pip install pytorch-optimizer" in error["detail"]
    compared = {**DISCOVER, "comparison": {"baselines": ["adamw", "muon"]}}
    (error,) = live.http.post("/jobs", json=compared).json()["errors"]
    assert error["pointer"] == "#/comparison/baselines/1"
    assert live.http.get(f"/jobs/{kept}").json()["spec"]["optimizer"] == "soap"
    assert live.http.get("/rules/soap").json()["hyperparameters"] == {}


def test_its_standing_has_its_name_and_no_file(live: Live) -> None:
    job = live.submit(library_tune())
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0, SOAP, lr=0.1)])
    told = outcome(0, 0.2).model_copy(update={"one_by_one": True, "slots": 7})
    live.store.record_told(claim, [told], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    (row,) = live.http.get("/rules").json()["items"]
    assert (row["label"], row["rule"], row["job_id"]) == ("soap", SOAP, job)
    assert live.http.get(f"/jobs/{job}/trials").json()["items"][0]["one_by_one"] is True
    entry = live.http.get("/rules/soap").json()
    assert entry["id"] == row["rule_id"] == identity(SOAP)[0]
    assert (entry["library"], entry["text"], entry["label"]) == ("pytorch_optimizer", SOAP, "soap")
    assert entry["hyperparameters"]["precondition_frequency"] == 10
    for path in ("soap/export", f"{entry['id']}/export?format=latex"):
        answer = live.http.get(f"/rules/{path}")
        assert answer.status_code == 422
        assert "from pytorch_optimizer import SOAP" in answer.json()["detail"]
    by_hand = live.http.post("/rules", json={"text": SOAP})
    assert by_hand.status_code == 422


def test_its_pages_say_what_it_is(live: Live) -> None:
    job = live.submit(library_tune())
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0, SOAP, lr=0.1)])
    alone = {"one_by_one": True, "obstacle": "it takes one model at a time"}
    live.store.record_told(claim, [outcome(0, 0.2).model_copy(update=alone)], None)
    page = live.http.get(f"{live.url}/rules/{identity(SOAP)[0]}")
    assert page.status_code == 200
    assert "is not a rule of the language" in page.text
    assert "Take it home" not in page.text
    assert "/export" not in page.text
    trial = live.http.get(f"{live.url}/jobs/{job}/trials/0")
    assert trial.status_code == 200
    assert "one by one" in trial.text
    assert "it takes one model at a time" in trial.text
    board = live.http.get(f"{live.url}/rules").text
    assert SOAP in board
    assert "soap" in board
