"""Both kinds of job over real HTTP, with real Ray workers, on both databases.

SQLite as one person runs it, one process; PostgreSQL as a cluster runs it, the server and the
dispatcher in processes of their own.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizers.catalogue import CATALOGUE
from service.client import Client

ROOT = Path(__file__).parent.parent.parent
TASK = {"name": "digits-mlp"}
TUNE: dict[str, Any] = {
    "kind": "tune",
    "name": "adamw on digits",
    "task": TASK,
    "optimizer": "adamw",
    "schedule": "cosine",
    "space": {
        "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    },
    "sampler": {"name": "tpe"},
    "pruner": {"name": "successive_halving", "min_steps": 10},
    "budget": {"trials": 24, "steps": 40},
}
DISCOVER: dict[str, Any] = {
    "kind": "discover",
    "name": "rules for digits",
    "task": TASK,
    "strategy": {"name": "reinforcement", "hidden": 16},
    "language": {"preset": "nos", "groups": 2},
    "budget": {"rules": 40},
    "protocol": {"grid_steps": 10, "steps": 30},
    "comparison": {"top": 3, "seeds": 2, "steps": 40, "baselines": ["sgd", "adam"]},
}

# Steps the exported file 100 times where no room of this project can be imported.
ALONE = """
import importlib.util, sys
sys.modules.update(dict.fromkeys(["dsl", "optimizers", "search", "workers", "service"]))
import torch
spec = importlib.util.spec_from_file_location("found", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
kinds = [k for k in vars(module).values() if isinstance(k, type)]
kind = next(k for k in kinds if issubclass(k, torch.optim.Optimizer))
"""
# The same model and data for the exported optimizer and for RuleOptimizer.
TRAIN = """
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
x, y = torch.randn(32, 6), torch.randn(32, 1)
optimizer = make(model)
for _ in range(100):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
torch.save([p.detach() for p in model.parameters()], sys.argv[2])
"""


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command of `rulesmith` until the block is left, then stop it as a person would."""
    child = subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment, "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
        assert child.stdout is not None
        child.stdout.close()


def address(server: "subprocess.Popen[str]") -> str:
    """Return the address that a server says it serves at."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://[\d.]+:\d+", line):
            return found.group()
    raise AssertionError("the server ended without saying its address")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The address of a running service."""
    home = str(tmp_path_factory.mktemp("home"))
    environment = {"RULESMITH_HOME": home, "RULESMITH_CPUS": "2"}
    serve = ["serve", "--port", "0"]
    with ExitStack() as stack:
        if request.param == "postgresql":
            import psycopg

            from tests.service.conftest import sqlalchemy_url

            url = request.getfixturevalue("postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DROP DATABASE IF EXISTS whole WITH (FORCE)")
                connection.execute("CREATE DATABASE whole")
            environment["DATABASE_URL"] = sqlalchemy_url(url, "whole")
            serve.append("--no-dispatcher")
        at = address(stack.enter_context(process(*serve, **environment)))
        if request.param == "postgresql":
            stack.enter_context(process("dispatch", **environment))
        yield at


@pytest.fixture(scope="module")
def client(service: str) -> Iterator[Client]:
    with Client(service) as each:
        yield each


def run(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Submit a job, follow its events to the end and return it."""
    job = client.submit(body)
    events = list(client.watch(job["id"]))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    states = [event["body"]["state"] for event in events if event["kind"] == "job"]
    assert states == ["QUEUED", "RUNNING", "SUCCEEDED"]
    return client.job(job["id"])


@pytest.mark.timeout(600)
def test_a_tune_job(client: Client) -> None:
    job = run(client, TUNE)
    trials = list(client.trials(job["id"]))
    assert [trial["number"] for trial in trials] == list(range(24))
    states = {trial["state"] for trial in trials}
    assert states <= {"COMPLETE", "PRUNED", "INFEASIBLE"}
    assert {"COMPLETE", "PRUNED"} <= states
    for trial in trials:
        assert set(trial["parameters"]) == {"lr", "weight_decay"}
        assert 1e-5 <= trial["parameters"]["lr"] <= 1
        if trial["state"] == "PRUNED":
            assert trial["step"] < 40
        if trial["state"] == "COMPLETE":
            assert trial["step"] == 40
    best = client.best(job["id"])[0]
    assert best["value"] == job["best"] == best["metrics"]["validation_loss"]
    assert best["metrics"]["validation_accuracy"] > 0.7
    curve = client.curves(job["id"], [best["number"]])[0]["points"]
    assert curve[-1]["step"] == 40
    assert curve[-1]["metrics"]["validation_loss"] == best["value"]


@pytest.mark.timeout(600)
def test_a_discover_job(client: Client, service: str, tmp_path: Path) -> None:
    job = run(client, DISCOVER)
    trials = list(client.trials(job["id"]))
    search = [trial for trial in trials if trial["stage"] == "search"]
    assert len(search) == 40
    assert len({trial["rule_id"] for trial in search}) == 40
    for trial in search:
        assert trial["state"] in {"COMPLETE", "INFEASIBLE"}
        assert (trial["reason"] is None) == (trial["state"] == "COMPLETE")

    compared = [trial for trial in trials if trial["stage"] == "comparison"]
    assert {"sgd", "adam"} <= {trial["label"] for trial in compared}
    for trial in compared:
        assert trial["seeds"] == 2
        assert {"validation_loss", "test_loss", "test_accuracy"} <= set(trial["metrics"])
    searched = {trial["rule_id"] for trial in search}
    found = [trial for trial in compared if trial["label"] is None]
    assert found
    assert {trial["rule_id"] for trial in found} <= searched

    command = [sys.executable, "-m", "service.cli", "replay", job["id"], str(found[0]["number"])]
    again = subprocess.run([*command, "--url", service], capture_output=True, text=True, cwd=ROOT)
    assert (again.returncode, again.stderr) == (0, "")
    assert repr(found[0]["metrics"]["test_loss"]) in again.stdout
    assert again.stdout.endswith("the same to the digit\n")

    board = list(client.rules(task="digits-mlp"))
    assert {row["rule_id"] for row in board} >= {trial["rule_id"] for trial in compared}

    path = tmp_path / "found.py"
    path.write_text(client.export(found[0]["rule_id"]))
    assert len(path.read_text().splitlines()) < 130
    exported, ours = tmp_path / "exported.pt", tmp_path / "ours.pt"
    script = ALONE + "make = lambda model: kind(model.parameters(), lr=0.01)\n" + TRAIN
    subprocess.run([sys.executable, "-I", "-c", script, str(path), str(exported)], check=True)
    script = (
        "import sys, torch\nfrom optimizers.rule import RuleOptimizer\n"
        f"make = lambda model: RuleOptimizer(model.parameters(), {found[0]['rule']!r}, lr=0.01)\n"
    )
    command = [sys.executable, "-c", script + TRAIN, str(path), str(ours)]
    subprocess.run(command, cwd=ROOT, check=True)
    import torch

    for one, other in zip(torch.load(exported), torch.load(ours), strict=True):
        assert torch.equal(one, other)

    page = httpx.get(f"{service}/jobs/{job['id']}", trust_env=False)
    assert page.status_code == 200
    assert found[0]["rule_id"] in page.text


def test_every_catalogue_rule_is_on_the_shelf(client: Client) -> None:
    names = {entry["name"] for entry in client.optimizers()}
    assert set(CATALOGUE) <= names
