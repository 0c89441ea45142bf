"""A real server on a real socket, over a fresh SQLite store."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Measurement, Outcome, TrialState
from service.server import Server, web_server
from service.settings import Settings
from service.store.queue import Claim
from service.store.store import Store

TUNE: dict[str, Any] = {
    "kind": "tune",
    "name": "adamw on digits",
    "task": {"name": "digits-mlp"},
    "optimizer": "adamw",
    "schedule": "cosine",
    "seed": 0,
    "objective": {"metric": "validation_loss", "direction": "minimize"},
    "space": {
        "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    },
    "sampler": {"name": "tpe"},
    "pruner": {"name": "successive_halving"},
    "budget": {"trials": 200, "steps": 300},
}
DISCOVER: dict[str, Any] = {
    "kind": "discover",
    "name": "rules for digits",
    "task": {"name": "digits-mlp"},
    "seed": 0,
    "strategy": {"name": "reinforcement"},
    "language": {"preset": "nos", "groups": 3},
    "budget": {"rules": 2000},
}


class Live:
    """A running service."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.file = folder / "rulesmith.db"
        self.store = Store(f"sqlite:///{self.file}")
        self.store.migrate()
        bound = threading.Event()
        self.server: Server = web_server(
            self.store,
            Settings(port=0, home=folder, **settings),
            started=lambda address: bound.set(),
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        assert bound.wait(30), "the server did not start"
        self.url = self.server.address()
        self.http = httpx.Client(base_url=f"{self.url}/api/v1", trust_env=False, timeout=30)

    def dump(self) -> list[str]:
        """Return every row of the database, as SQL."""
        connection = sqlite3.connect(self.file)
        try:
            return list(connection.iterdump())
        finally:
            connection.close()

    def submit(self, body: dict[str, Any]) -> str:
        """Submit a job and return its id."""
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def faults(self, body: dict[str, Any]) -> dict[str, str]:
        """Have a body validated that must be refused; return what is said of each field."""
        answer = self.http.post("/jobs?validate_only=true", json=body)
        assert answer.status_code == 422, answer.text
        return {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}

    def claim(self) -> Claim:
        """Take the next job, as a dispatcher would."""
        claim = self.store.claim("test", 60)
        assert claim is not None
        return claim

    def stop(self) -> None:
        """Stop the server as a signal would, and wait for its end."""
        self.http.close()
        self.server.stop()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the server did not stop"
        self.store.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    service = Live(tmp_path)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service for tests that write nothing."""
    service = Live(tmp_path_factory.mktemp("shared"))
    yield service
    service.stop()


def proposal(number: int, rule: str = "g", **parameters: float) -> Proposal:
    """Return a proposal as a searcher makes it."""
    candidate = Candidate(rule=rule).with_values(parameters)
    return Proposal(
        number=number, candidate=candidate, stage=Stage.SEARCH, parameters=dict(parameters)
    )


def outcome(number: int, value: float) -> Outcome:
    """Return a COMPLETE outcome with this validation loss."""
    return Outcome(
        number=number,
        state=TrialState.COMPLETE,
        step=300,
        lr=0.1,
        metrics={"validation_loss": value, "validation_accuracy": 0.9},
        spread={"validation_loss": 0.01, "validation_accuracy": 0.001},
        curve=(Measurement(step=300, metrics={"validation_loss": value}),),
        cost_steps=300,
        cost_seconds=0.5,
    )
