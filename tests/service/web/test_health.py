"""Probes and metrics."""

import sqlite3

from tests.service.web.conftest import DISCOVER, TUNE, Live


def test_probes_answer_at_both_addresses(shared: Live) -> None:
    for path in ("/healthz", "/readyz"):
        assert shared.http.get(path).json() == {"status": "ok"}
        assert shared.http.get(f"{shared.url}{path}").json() == {"status": "ok"}


def test_a_stopping_server_is_not_ready_but_alive(live: Live) -> None:
    live.server.config.app.state.stopping.set()  # type: ignore[union-attr]
    answer = live.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the server is stopping"
    assert live.http.get("/healthz").status_code == 200


def test_a_service_whose_ray_is_away_is_not_ready_but_alive(live: Live) -> None:
    live.server.config.app.state.outage = lambda: "Ray is away"  # type: ignore[union-attr]
    answer = live.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "Ray is away"
    assert live.http.get("/healthz").status_code == 200


def test_metrics_count_jobs_and_answers(live: Live) -> None:
    live.submit(TUNE)
    live.submit(DISCOVER)
    live.http.get("/jobs/none")
    live.http.get("/jobs/nobody")
    text = live.http.get(f"{live.url}/metrics").text
    assert 'rulesmith_jobs{state="QUEUED"} 2.0' in text
    assert 'rulesmith_jobs{state="FAILED"} 0.0' in text
    lines = [line for line in text.splitlines() if line.startswith("rulesmith_http_requests_total")]
    missed = [line for line in lines if 'status="404"' in line]
    assert len(missed) == 1, missed
    assert missed[0].endswith(" 2.0")
    assert "nobody" not in text


def test_a_broken_database_is_a_problem_not_a_traceback(live: Live) -> None:
    job = live.submit(TUNE)
    with sqlite3.connect(live.file) as connection:
        connection.execute("ALTER TABLE jobs RENAME TO lost")
    connection.close()
    answer = live.http.get(f"/jobs/{job}")
    assert answer.status_code in (500, 503)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    assert "jobs" not in answer.json()["detail"]
