"""Hosts, origins, tokens, headers: a service on localhost is reachable by every web page."""

import base64
from pathlib import Path

import pytest

from service.web.security import host_name, is_loopback, presented_token
from tests.service.web.conftest import TUNE, Live

UNSAFE = [
    ("POST", "/jobs"),
    ("POST", "/rules"),
    ("POST", "/jobs/none:pause"),
    ("PATCH", "/jobs/none"),
    ("DELETE", "/jobs/none"),
]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("path", ["/jobs", "/healthz", "/jobs/none/events"])
def test_another_host_is_refused(shared: Live, host: str, path: str) -> None:
    answer = shared.http.get(path, headers={"Host": host})
    assert answer.status_code == 400
    assert "RULESMITH_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]", "[::1]:9"])
def test_this_machine_is_served_by_its_names(shared: Live, host: str) -> None:
    assert shared.http.get("/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(("method", "path"), UNSAFE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://evil.example", "Authorization": "Bearer x"},
    ],
)
def test_another_site_may_change_nothing(
    shared: Live, method: str, path: str, headers: dict[str, str]
) -> None:
    before = shared.dump()
    body = None if method == "DELETE" else TUNE
    answer = shared.http.request(method, path, headers=headers, json=body)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert shared.dump() == before


def test_this_site_may(live: Live) -> None:
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {},
                    {"Origin": live.url}):  # fmt: skip
        assert live.http.post("/jobs", json=TUNE, headers=headers).status_code == 201


@pytest.mark.parametrize("path", ["/jobs", "/jobs/none", "/healthz", "/metrics"])
def test_every_answer_forbids_what_browsers_could_do_with_it(shared: Live, path: str) -> None:
    headers = shared.http.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_the_first_token_closes_the_service(live: Live) -> None:
    assert live.http.get("/jobs").status_code == 200
    secret = live.store.create_token("me")
    for path in ("/jobs", "/jobs/none/events", "/metrics", f"{live.url}/", f"{live.url}/nothing",
                 f"{live.url}/openapi.json"):  # fmt: skip
        answer = live.http.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "rulesmith token create" in answer.json()["detail"]
    assert live.http.post("/jobs", json=TUNE).status_code == 401
    assert live.http.get("/healthz").status_code == 200
    assert live.http.get("/readyz").status_code == 200
    bearer = {"Authorization": f"Bearer {secret}"}
    assert live.http.get("/jobs", headers=bearer).status_code == 200
    assert live.http.post("/jobs", json=TUNE, headers=bearer).status_code == 201
    basic = base64.b64encode(f"anyone:{secret}".encode()).decode()
    assert live.http.get("/jobs", headers={"Authorization": f"Basic {basic}"}).status_code == 200
    page = live.http.get(f"{live.url}/", headers={"Accept": "text/html,*/*"})
    assert page.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer wrong", "Basic", "Basic !!!", "Basic Og==",
     "Basic /w==", "Digest x", "", "Bearer " + "x" * 8000],
)  # fmt: skip
def test_no_other_authorization_opens_it(live: Live, header: str) -> None:
    live.store.create_token("me")
    headers = {"Authorization": header}
    assert live.http.get("/jobs", headers=headers).status_code == 401


def test_a_revoked_token_opens_nothing(live: Live) -> None:
    secret = live.store.create_token("me")
    live.store.revoke_token("me")
    headers = {"Authorization": f"Bearer {secret}"}
    assert live.http.get("/jobs", headers=headers).status_code == 401


def test_a_server_beyond_loopback_needs_tokens_from_the_start(tmp_path: Path) -> None:
    live = Live(tmp_path, host="0.0.0.0")
    try:
        assert live.http.get("/jobs").status_code == 401
        headers = {"Authorization": f"Bearer {live.store.create_token('me')}"}
        assert live.http.get("/jobs", headers=headers).status_code == 200
    finally:
        live.stop()


def test_loopback_is_told_from_other_addresses() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.org", ""]))


def test_host_names_lose_their_port() -> None:
    assert host_name("Example.org:80") == "example.org"
    assert host_name("[::1]:80") == "[::1]"
    assert host_name("example.org") == "example.org"


def test_tokens_are_read_from_both_schemes() -> None:
    assert presented_token("bearer abc") == "abc"
    assert presented_token("Basic " + base64.b64encode(b"u:p:q").decode()) == "p:q"
    assert presented_token("abc") is None
