"""No bad request gives a 5xx or writes a row; each answer names the field and what is allowed."""

import json
from typing import Any

import httpx
import pytest

from tests.service.web.conftest import TUNE, Live

RULES: dict[str, tuple[Any, str, list[str]]] = {
    "a syntax error": ({"text": "g * (m"}, "#/text", ["^", "column"]),
    "an unknown name": ({"text": "g * gradeint"}, "#/text", ["gradeint"]),
    "code": ({"text": "__import__('os').system('true')"}, "#/text", ["column"]),
    "nothing": ({"text": ""}, "#/text", ["at least 1"]),
    "a long text": ({"text": "g + " * 2000 + "g"}, "#/text", ["4096"]),
    "a deep text": ({"text": "(" * 500 + "g" + ")" * 500}, "#/text", []),
    "NUL": ({"text": "g\0"}, "#/text", []),
    "a lone surrogate": ({"text": "g\ud800"}, "#/text", []),
    "a rule without the gradient": ({"text": "w"}, "#/text", []),
    "a constant rule": ({"text": "1"}, "#/text", []),
    "a number": ({"text": 5}, "#/text", ["must be a text"]),
    "an unknown field": ({"text": "g", "nmae": "x"}, "#/nmae", ["label", "text"]),
    "markup as label": ({"text": "g", "label": "<b>"}, "#/label", ["not allowed", "letters"]),
    "no text": ({}, "#/text", ["required"]),
}


@pytest.mark.parametrize("case", RULES)
def test_a_bad_rule_is_refused_with_the_place_and_nothing_is_written(
    shared: Live, case: str
) -> None:
    body, pointer, words = RULES[case]
    before = shared.dump()
    answer = (
        shared.http.post("/rules", json=body)
        if case != "a lone surrogate"
        else (
            shared.http.post(
                "/rules", content=json.dumps(body), headers={"Content-Type": "application/json"}
            )
        )
    )
    assert answer.status_code == 422, answer.text
    found = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert pointer in found, found
    for word in words:
        assert word in found[pointer], found
    assert shared.dump() == before


PATHS = [
    ("GET", "/jobs/none"),
    ("GET", "/jobs/%00"),
    ("GET", "/jobs/" + "x" * 5000),
    ("GET", "/jobs/%F0%9F%92%A9"),
    ("GET", "/jobs/..%2f..%2fetc%2fpasswd"),
    ("GET", "/jobs/none/trials"),
    ("GET", "/jobs/none/trials/0"),
    ("GET", "/jobs/none/curves"),
    ("GET", "/jobs/none/best"),
    ("GET", "/jobs/none/importance"),
    ("GET", "/jobs/none/events"),
    ("GET", "/jobs/%00/events"),
    ("PATCH", "/jobs/none"),
    ("DELETE", "/jobs/none"),
    ("POST", "/jobs/none:pause"),
    ("POST", "/jobs/none:resume"),
    ("POST", "/jobs/none:cancel"),
    ("POST", "/jobs/none:clone"),
    ("GET", "/rules/none"),
    ("GET", "/rules/%00"),
    ("GET", "/rules/none/export"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_what_is_not_there_is_404(shared: Live, method: str, path: str) -> None:
    before = shared.dump()
    body = {"notes": "x"} if method == "PATCH" else None
    answer = shared.http.request(method, path, json=body)
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert shared.dump() == before


QUERIES = [
    ("/jobs?page_size=0", "page_size"),
    ("/jobs?page_size=1001", "page_size"),
    ("/jobs?page_size=many", "page_size"),
    ("/jobs?page_size=" + "9" * 5000, "page_size"),
    ("/jobs?page_token=forged", "page_token"),
    ("/jobs?page_token=%00", "page_token"),
    ("/jobs?page_token=W10", "page_token"),
    ("/jobs?filter=colour%20=%20RED", "filter"),
    ("/jobs?filter=state%20=%20TIRED", "filter"),
    ("/jobs?filter=state%20=", "filter"),
    ("/jobs?filter=%27%20OR%201=1;--", "filter"),
    ("/jobs?filter=%00", "filter"),
    ("/jobs?filter=" + "(" * 900, "filter"),
    ("/jobs?order_by=colour", "order_by"),
    ("/jobs?order_by=name%20sideways", "order_by"),
    ("/jobs?pagesize=5", "pagesize"),
    ("/rules?filter=colour%20=%20RED", "filter"),
    ("/rules?colour=RED", "colour"),
    ("/rules/sgd/export?format=fortran", "format"),
    ("/jobs/none/best?count=0", "count"),
    ("/jobs/none/curves?numbers=1,x", "numbers"),
    ("/jobs/none/trials/-1", "number"),
    ("/jobs/none/trials/99999999999999999999", "number"),
]


@pytest.mark.parametrize(("path", "parameter"), QUERIES)
def test_a_bad_parameter_is_named(shared: Live, path: str, parameter: str) -> None:
    answer = shared.http.get(path)
    assert answer.status_code == 422, answer.text
    assert parameter in [fault.get("parameter") for fault in answer.json()["errors"]]


def test_an_unknown_export_format_lists_the_known_ones(shared: Live) -> None:
    answer = shared.http.get("/rules/sgd/export?format=fortran")
    assert "'torch'" in answer.json()["detail"]
    assert "'optax'" in answer.json()["detail"]
    assert "'latex'" in answer.json()["detail"]


def test_an_unknown_action_lists_the_known_ones(shared: Live) -> None:
    answer = shared.http.post("/jobs/none:explode")
    assert answer.status_code == 422
    assert "'pause', 'resume' or 'cancel'" in answer.json()["detail"]


def test_a_method_that_is_not_allowed_is_405(shared: Live) -> None:
    answer = shared.http.put("/jobs", json=TUNE)
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", "with space", "x" * 256])
def test_a_bad_idempotency_key_is_refused(shared: Live, key: str) -> None:
    before = shared.dump()
    answer = shared.http.post("/jobs", json=TUNE, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert shared.dump() == before


@pytest.mark.parametrize("identifier", ["soon", "-1", "9" * 30, "7", ""])
def test_a_bad_last_event_id_is_refused(live: Live, identifier: str) -> None:
    job = live.submit(TUNE)
    answer = live.http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": identifier})
    assert answer.status_code == 422


def test_a_bad_patch_changes_nothing(live: Live) -> None:
    job = live.submit(TUNE)
    before = live.dump()
    bodies: tuple[Any, ...] = (
        {"state": "SUCCEEDED"}, {"budget": 0}, {"budget": 10**9}, {"budget": "7"}, {"name": ""},
        {"notes": "a\0b"}, {"notes": "x" * 10_001}, [],
    )  # fmt: skip
    for body in bodies:
        answer = live.http.patch(f"/jobs/{job}", json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert live.dump() == before
    answer = live.http.post(f"/jobs/{job}:clone", json={"name": "<b>"})
    assert answer.status_code == 422
    assert live.dump() == before


def test_garbage_on_the_wire_does_not_stop_the_server(shared: Live) -> None:
    import socket

    host, port = httpx.URL(shared.url).host, httpx.URL(shared.url).port
    for garbage in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST /api/v1/jobs HTTP/1.1\r\n"):
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(garbage)
    assert shared.http.get("/healthz").status_code == 200
