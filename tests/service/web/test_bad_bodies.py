"""A body that is too large, not JSON, or JSON of a kind no job is, is refused in words."""

import json

import pytest

from tests.service.web.conftest import TUNE, Live

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
        json.dumps({**TUNE, "space": {"lr": {"choices": ["x"] * 200_000}}}).encode(), 422,
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


UNREADABLE: dict[str, tuple[bytes, list[str]]] = {
    "lists nested deeply": (b"[" * 100_000, ["nested too deeply", "10 levels"]),
    "objects nested deeply": (b'{"a":' * 5_000 * 20, ["nested too deeply", "10 levels"]),
    "not UTF-8": (b'{"kind": "\xff\xfe"}', ["not UTF-8", "byte 10", "0xff"]),
    "an endless integer": (b'{"seed": ' + b"9" * 5_000 + b"}", ["4300 digits", "smaller"]),
    "not JSON": (b'{"kind": tune}', ["not JSON", "character 9"]),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("path", ["/jobs", "/rules"])
def test_a_body_that_cannot_be_read_is_told_why(shared: Live, case: str, path: str) -> None:
    content, words = UNREADABLE[case]
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post(path, content=content, headers=headers)
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == "#"
    for word in words:
        assert word in fault["detail"]
        assert word in answer.json()["detail"]


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


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/json", "application/x-www-form-urlencoded", "", None]
)
def test_json_must_be_sent_as_json(shared: Live, kind: str | None) -> None:
    before = shared.dump()
    headers = {} if kind is None else {"Content-Type": kind}
    answer = shared.http.post("/jobs", content=json.dumps(TUNE), headers=headers)
    assert answer.status_code == 415
    told = f"the header Content-Type is '{kind}'" if kind else "the body has no header Content-Type"
    detail = answer.json()["detail"]
    assert detail == f"{told}; send JSON with 'Content-Type: application/json'"
    assert shared.dump() == before
