"""The store as a whole: every write happens whole or not at all, whatever fails, whoever dies."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from dsl.outcome import TrialState
from service.resources import JobState
from service.store.errors import LeaseLost
from service.store.store import Store
from tests.service.store.samples import RULES, complete, judged, proposal, running, tune

NEW = "g * abs(g) + 2 * sign(g)"


class Fault(Exception):
    """The Nth statement of a transaction failed."""


def everything(store: Store) -> list[Any]:
    with store._database.read() as connection:
        return [
            sorted(map(str, connection.exec_driver_sql(f"SELECT * FROM {table}")))
            for table in (
                *("jobs", "trials", "rules", "standings", "events"),
                *("snapshots", "idempotency", "tokens"),
            )
        ]


WRITES: dict[str, Callable[[Store, str, Any], object]] = {
    "create": lambda s, j, c: s.create_job(tune("new"), idempotency_key="new"),
    "claim": lambda s, j, c: s.claim("another", 60),
    "asked": lambda s, j, c: s.record_asked(c, [proposal(2, NEW), proposal(3)]),
    "told": lambda s, j, c: s.record_told(c, [complete(0, 0.3), complete(1, 0.2)], b"learnt"),
    "lost": lambda s, j, c: s.record_lost(c, [0, 1], "gone"),
    "finish": lambda s, j, c: s.finish(c, JobState.CANCELLED),
    "request": lambda s, j, c: s.request(j, "pause"),
    "update": lambda s, j, c: s.update_job(j, notes="x"),
    "rule": lambda s, j, c: s.add_rule(NEW, label="new"),
    "token": lambda s, j, c: s.create_token("new"),
    "delete": lambda s, j, c: s.delete_job(s.jobs().items[-1].id),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_failure_at_any_statement_leaves_nothing(store: Store, name: str) -> None:
    _, ended = running(store)
    judged(store, ended, [0.9, 0.8])
    store.finish(ended, JobState.SUCCEEDED)
    job, claim = running(store)
    store.record_asked(claim, [proposal(i, RULES[i]) for i in range(2)])
    store.create_job(tune("waiting"))
    before = everything(store)
    engine = store._database.engine
    left = 0

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Fault

    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
    for nth in range(1, 100):
        left = nth
        try:
            WRITES[name](store, job.id, claim)
        except Fault:
            left = 0
            assert everything(store) == before, f"statement {nth} of {name}"
        else:
            break
    left = 0
    assert nth > 3, "no statement ran"
    assert everything(store) != before


def work(url: str, seed: int) -> None:
    """What a dispatcher does, until it is killed."""
    store = Store(url)
    draw = random.Random(seed)
    store.expire("worker")
    while (claim := store.claim("worker", 60)) is not None:
        history = store.history(claim.job_id)
        known = {p.number for p, outcome in history.trials if outcome is not None}
        assert len(known) == int(history.snapshot or b"0")
        while len(known) < 30:
            batch = [n for n in range(30) if n not in known][: draw.randint(1, 4)]
            store.record_asked(claim, [proposal(n, RULES[n % 4]) for n in batch])
            known |= set(batch)
            told = [complete(n, 1 + draw.random()) for n in batch]
            store.record_told(claim, told, str(len(known)).encode())
        store.finish(claim, JobState.SUCCEEDED)
    store.close()


def test_kill_nine_loses_nothing(store: Store, store_url: str) -> None:
    """Killed again and again in mid-write, the next life ends the work, each trial told once."""
    ids = [store.create_job(tune(str(i)))[0].id for i in range(4)]
    draw = random.Random(0)
    for life in range(60):
        store.close()  # a fork must not share connections
        child = os.fork()
        if child == 0:
            try:
                work(store_url, life)
                os._exit(0)
            finally:
                os._exit(1)
        ended = False
        deadline = time.monotonic() + (draw.uniform(0.05, 0.4) if life < 8 else 60)
        while not ended and time.monotonic() < deadline:
            ended = os.waitpid(child, os.WNOHANG)[0] == child
            time.sleep(0.005)
        if ended:
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for job_id in ids:
        job = store.job(job_id)
        if job.state is JobState.FAILED:
            assert "died 4 times" in (job.error or "")
            continue
        assert job.state is JobState.SUCCEEDED
        assert job.trials == {TrialState.COMPLETE: 30}
        told: list[int] = []
        events = store.events(job_id)
        for happened in events:
            if happened.kind == "trials" and "COMPLETE" in happened.body["states"]:
                told += happened.body["numbers"]
        assert sorted(told) == list(range(30))
        assert [happened.seq for happened in events] == list(range(1, len(events) + 1))
    assert any(store.job(job_id).state is JobState.SUCCEEDED for job_id in ids)


def test_no_interleaving_lets_an_old_claim_write(store: Store) -> None:
    """Random dispatchers that oversleep, against a model of who may write."""
    draw = random.Random(1)
    job, current = running(store)
    claims = [current]
    lapsed = False
    told: set[int] = set()
    for step in range(80):
        act = draw.choice(["lapse", "claim", "write", "write", "write"])
        if act == "lapse":
            store.renew(claims[-1], -1)
            lapsed = True
        elif act == "claim":
            new = store.claim(f"dispatcher {step}", 60)
            assert (new is not None) == lapsed
            if new is not None:
                claims.append(new)
                lapsed = False
        else:
            claim = draw.choice(claims[-3:])
            try:
                store.record_asked(claim, [proposal(step)])
                store.record_told(claim, [complete(step, 1.0)], None)
                told.add(step)
                assert claim == claims[-1]
            except LeaseLost:
                assert claim != claims[-1]
        if store.job(job.id).state is JobState.FAILED:
            break
    trials = store.trials(job.id).items
    assert {trial.number for trial in trials} == told
    assert len(claims) > 3
