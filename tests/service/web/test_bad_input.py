"""No bad input gives a 5xx or writes a row; each answer names the field and what is allowed."""

import copy
import json
from typing import Any

import httpx
import pytest

from tests.service.web.conftest import DISCOVER, TUNE, Live

BIG = 10**9


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the body with the value at `path` (keys joined by dots) replaced."""
    body = copy.deepcopy(base)
    *keys, last = path.split(".")
    here = body
    for key in keys:
        here = here[key]
    here[last] = value
    return body


def without(base: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in base.items() if key != name}


LR = {"type": "float", "low": 1e-5, "high": 1, "log": True}

# body, the field's pointer, words of its detail
JOBS: dict[str, tuple[Any, str, list[str]]] = {
    "unknown kind": (changed(TUNE, "kind", "tuna"), "#/kind", ["'tuna'", "'tune'", "'discover'"]),
    "no kind": (without(TUNE, "kind"), "#/kind", ["required", "tune"]),
    "unknown task": (
        changed(TUNE, "task.name", "mnist"), "#/task", ["'mnist'", "digits-mlp"],
    ),
    "unknown optimizer": (
        changed(TUNE, "optimizer", "adamx"), "#/optimizer", ["'adamx'", "adamw", "sgd"],
    ),
    "unknown sampler": (
        changed(TUNE, "sampler.name", "magic"), "#/sampler/name", ["'tpe'", "'random'", "'magic'"],
    ),
    "unknown pruner": (
        changed(TUNE, "pruner.name", "axe"), "#/pruner/name", ["'axe'", "successive_halving"],
    ),
    "unknown schedule": (
        changed(TUNE, "schedule", "zigzag"), "#/schedule", ["'zigzag'", "cosine"],
    ),
    "unknown schedule setting": (
        changed(TUNE, "schedule", {"name": "cosine", "settings": {"t": 1}}),
        "#/schedule", ["warmup"],
    ),
    "unknown metric": (
        changed(TUNE, "objective.metric", "test_loss"),
        "#/objective", ["'test_loss'", "validation_loss"],
    ),
    "unknown direction": (
        changed(TUNE, "objective.direction", "sideways"),
        "#/objective/direction", ["'minimize'", "'maximize'"],
    ),
    "unknown field": (
        {**TUNE, "bugdet": 3}, "#/bugdet", ["'bugdet'", "did you mean 'budget'", "optimizer"],
    ),
    "unknown nested field": (
        changed(TUNE, "budget.trails", 3), "#/budget/trails", ["'trials'", "steps"],
    ),
    "unknown field of a parameter": (
        changed(TUNE, "space.lr", {**LR, "lo": 1}), "#/space/lr/lo", ["low", "high", "log"],
    ),
    "unknown parameter": (
        changed(TUNE, "space", {"lrr": LR}), "#/space", ["'lrr'", "lr", "beta1"],
    ),
    "low above high": (
        changed(TUNE, "space.lr", {**LR, "low": 1, "high": 0.1}), "#/space/lr", ["1", "0.1", "low"],
    ),
    "low equals high": (
        changed(TUNE, "space.lr", {**LR, "low": 1, "high": 1}), "#/space/lr", ["less than high"],
    ),
    "log of zero": (
        changed(TUNE, "space.lr", {**LR, "low": 0}), "#/space/lr", ["log", "greater than 0"],
    ),
    "integer log of zero": (
        changed(TUNE, "space.lr", {"type": "int", "low": 0, "high": 9, "log": True}),
        "#/space/lr", ["greater than 0"],
    ),
    "range beyond numbers": (
        changed(TUNE, "space.lr", {"type": "float", "low": -1.5e308, "high": 1.5e308}),
        "#/space/lr", ["high - low"],
    ),
    "a text as choice": (
        changed(TUNE, "space.lr", {"type": "categorical", "choices": [0.1, "big"]}),
        "#/space", ["'big'", "number"],
    ),
    "no choices": (
        changed(TUNE, "space.lr", {"type": "categorical", "choices": []}),
        "#/space/lr/choices", ["at least 1"],
    ),
    "an empty space": (changed(TUNE, "space", {}), "#/space", ["at least 1"]),
    "unknown type of parameter": (
        changed(TUNE, "space.lr.type", "double"),
        "#/space/lr/type", ["'double'", "'float'", "'int'", "'categorical'"],
    ),
    "a budget of 0": (
        changed(TUNE, "budget.trials", 0), "#/budget/trials", ["greater than or equal to 1", "0"],
    ),
    "a budget of 10^9": (
        changed(TUNE, "budget.trials", BIG),
        "#/budget/trials", ["less than or equal to 1000000", str(BIG)],
    ),
    "a negative budget": (changed(TUNE, "budget.trials", -1), "#/budget/trials", ["-1"]),
    "steps of 10^9": (changed(TUNE, "budget.steps", BIG), "#/budget/steps", ["1000000"]),
    "rules of 0": (changed(DISCOVER, "budget.rules", 0), "#/budget/rules", ["equal to 1"]),
    "rules of 10^9": (changed(DISCOVER, "budget.rules", BIG), "#/budget/rules", ["1000000"]),
    "no budget": (without(TUNE, "budget"), "#/budget", ["required"]),
    "the other kind's budget": (
        changed(TUNE, "budget", {"rules": 5}), "#/budget/trials", ["required"],
    ),
    "unknown strategy": (
        changed(DISCOVER, "strategy.name", "luck"), "#/strategy/name", ["'luck'", "'random'"],
    ),
    "unknown preset": (
        changed(DISCOVER, "language.preset", "english"), "#/language/preset", ["'nos'"],
    ),
    "five groups": (changed(DISCOVER, "language.groups", 5), "#/language/groups", ["4", "5"]),
    "unknown baseline": (
        {**DISCOVER, "comparison": {"baselines": ["sgd", "adamx"]}},
        "#/comparison/baselines", ["'adamx'", "adamw"],
    ),
    "no learning rates": (
        {**DISCOVER, "protocol": {"learning_rates": []}},
        "#/protocol/learning_rates", ["at least 1"],
    ),
    "a learning rate of 0": (
        {**DISCOVER, "protocol": {"learning_rates": [0.0]}},
        "#/protocol/learning_rates/0", ["greater than 0"],
    ),
    "a number as name": (changed(TUNE, "name", 7), "#/name", ["string"]),
    "an empty name": (changed(TUNE, "name", ""), "#/name", ["at least 1"]),
    "a long name": (changed(TUNE, "name", "x" * 65), "#/name", ["64"]),
    "a name with markup": (changed(TUNE, "name", "<img onerror=1>"), "#/name", ["pattern"]),
    "a name with NUL": (changed(TUNE, "name", "a\0b"), "#/name", ["pattern"]),
    "a name with a newline": (changed(TUNE, "name", "a\nb"), "#/name", ["pattern"]),
    "a lone surrogate": (changed(TUNE, "name", "\ud800"), "#/name", ["unicode"]),
    "a text as seed": (changed(TUNE, "seed", "0"), "#/seed", ["integer", "'0'"]),
    "true as seed": (changed(TUNE, "seed", True), "#/seed", ["integer", "True"]),
    "a fraction as seed": (changed(TUNE, "seed", 0.5), "#/seed", ["integer", "0.5"]),
    "a seed beyond 31 bits": (changed(TUNE, "seed", 2**31), "#/seed", ["2147483648"]),
    "a seed beyond 64 bits": (changed(TUNE, "seed", 2**70), "#/seed", ["less than"]),
    "true as low": (changed(TUNE, "space.lr", {**LR, "low": True}), "#/space/lr/low", ["number"]),
    "a list as space": (changed(TUNE, "space", [1]), "#/space", ["dictionary"]),
    "null as task": (changed(TUNE, "task", None), "#/task", ["None"]),
    "a population of 0": ({**TUNE, "population": 0}, "#/population", ["equal to 1"]),
    "a list as body": ([1, 2], "#", []),
    "null as body": (None, "#", []),
    "a text as body": ("tune", "#", []),
}  # fmt: skip


@pytest.mark.parametrize("case", JOBS)
@pytest.mark.parametrize("query", ["", "?validate_only=true"])
def test_a_bad_job_is_refused_with_its_field_and_nothing_is_written(
    shared: Live, case: str, query: str
) -> None:
    body, pointer, words = JOBS[case]
    before = shared.dump()
    answer = shared.http.post(
        f"/jobs{query}",
        content=json.dumps(body),
        headers={"Content-Type": "application/json", "Idempotency-Key": f"key-{len(before)}"},
    )
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["instance"] == "/api/v1/jobs"
    assert {"type", "title", "detail"} <= problem.keys()
    found = {fault["pointer"]: fault["detail"] for fault in problem["errors"]}
    assert pointer in found, found
    for word in words:
        assert word in found[pointer], found[pointer]
    assert shared.dump() == before


RAW: dict[str, tuple[bytes, int]] = {
    "no body": (b"", 422),
    "not JSON": (b"{kind: tune", 400),
    "half a body": (json.dumps(TUNE).encode()[:-5], 400),
    "not UTF-8": (b'{"kind": "\xff\xfe"}', 400),
    "nested deeply": (b"[" * 100_000 + b"]" * 100_000, 400),
    "objects nested deeply": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
    "an endless integer": (b'{"kind": "tune", "seed": ' + b"9" * 10_000 + b"}", 400),
    "infinity": (json.dumps(TUNE).replace("1e-05", "1e999").encode(), 422),
    "NaN": (json.dumps(TUNE).replace("1e-05", "NaN").encode(), 422),
    "exactly 1 MiB": (json.dumps(TUNE).encode().ljust(2**20), 413),
    "2 MiB": (b" " * 2**21, 413),
    "many unknown fields": (
        json.dumps({**TUNE, **{f"x{i}": i for i in range(60_000)}}).encode(), 422,
    ),
    "many choices": (
        json.dumps(changed(TUNE, "space.lr.choices", ["x"] * 200_000)).encode(), 422,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
def test_a_body_that_is_no_job_is_refused(shared: Live, case: str) -> None:
    content, status = RAW[case]
    before = shared.dump()
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post("/jobs", content=content, headers=headers)
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 40_000
    assert shared.dump() == before


def test_a_chunked_body_of_1_mib_is_refused(shared: Live) -> None:
    before = shared.dump()
    chunks = (b" " * 2**16 for _ in range(16))
    answer = shared.http.post("/jobs", content=chunks, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["status"] == 413
    assert shared.dump() == before


def test_a_body_just_below_1_mib_is_taken(shared: Live) -> None:
    content = json.dumps(TUNE).encode().ljust(2**20 - 1)
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post("/jobs?validate_only=true", content=content, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_json_must_be_sent_as_json(shared: Live, kind: str | None) -> None:
    before = shared.dump()
    headers = {} if kind is None else {"Content-Type": kind}
    answer = shared.http.post("/jobs", content=json.dumps(TUNE), headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]
    assert shared.dump() == before


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
    "a number": ({"text": 5}, "#/text", ["string"]),
    "an unknown field": ({"text": "g", "nmae": "x"}, "#/nmae", ["label", "text"]),
    "markup as label": ({"text": "g", "label": "<b>"}, "#/label", ["pattern"]),
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


def test_at_most_20_faults_are_listed(shared: Live) -> None:
    body = {**TUNE, **{f"x{i}": i for i in range(100)}}
    answer = shared.http.post("/jobs", json=body)
    assert len(answer.json()["errors"]) == 20
    assert "99 more" in answer.json()["detail"]


def test_garbage_on_the_wire_does_not_stop_the_server(shared: Live) -> None:
    import socket

    host, port = httpx.URL(shared.url).host, httpx.URL(shared.url).port
    for garbage in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST /api/v1/jobs HTTP/1.1\r\n"):
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(garbage)
    assert shared.http.get("/healthz").status_code == 200
