"""The demonstration: both kinds of job, end to end, on real data (`make demo`).

Starts the service, tunes AdamW, discovers update rules, compares the best with hand-made
optimizers, exports the best rule, trains an ordinary model with that file, and serves on.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from service.client import Client, ClientError
from service.settings import Settings

TUNE: dict[str, Any] = {
    "kind": "tune",
    "name": "adamw on digits",
    "task": {"name": "digits-mlp"},
    "optimizer": "adamw",
    "schedule": "cosine",
    "seed": 0,
    "space": {
        "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    },
    "sampler": {"name": "tpe"},
    "pruner": {"name": "successive_halving"},
    "budget": {"trials": 96, "steps": 300},
}
DISCOVER: dict[str, Any] = {
    "kind": "discover",
    "name": "rules for digits",
    "task": {"name": "digits-mlp"},
    "seed": 0,
    "strategy": {"name": "reinforcement"},
    "language": {"preset": "nos", "groups": 2},
    "protocol": {"seeds": 2},
    "budget": {"rules": 500},
    "comparison": {
        "top": 10,
        "seeds": 5,
        "baselines": ["sgd", "momentum", "rmsprop", "adam", "adamw"],
    },
}
EXAMPLE = Path(__file__).parent.parent / "examples" / "train_digits.py"
STARTUP_SECONDS = 60

console = Console(width=max(100, Console().width))


class DemoError(RuntimeError):
    """A step of the demonstration did not happen."""


def free_port(first: int) -> int:
    """Return the first free port of this machine from `first` on."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise DemoError(f"no port between {first} and {first + 99} is free")


def start_server(port: int) -> "subprocess.Popen[bytes]":
    """Start `rulesmith serve` beside this process and wait until it is ready."""
    server = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + STARTUP_SECONDS
    while not ready(port):
        if server.poll() is not None:
            raise DemoError(f"the server stopped at once with status {server.returncode}")
        if time.monotonic() > deadline:
            raise DemoError(f"the server was not ready after {STARTUP_SECONDS} s")
        time.sleep(0.2)
    return server


def ready(port: int) -> bool:
    """Return whether the server takes jobs."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def follow(client: Client, spec: dict[str, Any]) -> dict[str, Any]:
    """Submit a job, show its progress until it ends, and return it."""
    job = client.submit(spec)
    columns = (
        TextColumn("{task.description:36}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
    )
    with Progress(*columns, console=console) as progress:
        line = progress.add_task(f"{spec['kind']}: {spec['name']}", total=job["budget"], best="")
        for _ in client.watch(job["id"]):
            job = client.job(job["id"])
            best = "" if job["best"] is None else f"best {job['best']:.4f}"
            progress.update(line, completed=job["judged"], best=best)
    job = client.job(job["id"])
    if job["state"] != "SUCCEEDED":
        raise DemoError(f"job {job['id']} ended {job['state']}: {job['error']}")
    return job


def tally(client: Client, job: dict[str, Any]) -> dict[str, int]:
    """Return how a discover job's searched rules ended."""
    query = "stage = search AND state = INFEASIBLE"
    infeasible = list(client.trials(job["id"], filter=query))
    rejected = sum(trial["cost_steps"] == 0 for trial in infeasible)
    return {
        "trained": job["judged"] - len(infeasible),
        "rejected before training": rejected,
        "diverged": len(infeasible) - rejected,
    }


def title(row: dict[str, Any]) -> str | Text:
    """Return what stands for an optimizer in a table: its name, or its rule in one line."""
    return row["label"] or Text(row["rule"].replace("\n", "; "), "bold")


def passed_over(client: Client, job: dict[str, Any], compared: list[dict[str, Any]]) -> int:
    """Return how many rules did as well in the search as one that was compared, and were not."""
    rules = {row["rule_id"] for row in compared if row["label"] is None}
    query = "stage = search AND state = COMPLETE"
    searched = client.trials(job["id"], filter=query, order_by="value")
    taken = [trial["rule_id"] in rules for trial in searched]
    last = max((place for place, was in enumerate(taken) if was), default=-1)
    return taken[: last + 1].count(False)


def leaderboard(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Print the comparison of a discover job and return its best discovered rule."""
    compared = list(client.trials(job["id"], filter="stage = comparison", order_by="value"))
    rows = [row for row in compared if row["value"] is not None]
    table = Table(title="Found rules beside hand-made ones", title_justify="left")
    table.add_column("optimizer", no_wrap=True, overflow="ellipsis", max_width=34)
    for heading in ("lr", "validation loss", "test loss", "test accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = (
            f"{row['metrics'][metric]:.4f} ±{row['spread'][metric]:.4f}"
            for metric in ("validation_loss", "test_loss", "test_accuracy")
        )
        table.add_row(title(row), f"{row['lr']:g}", *figures)
    nothing = [row for row in compared if row["value"] is None]
    for row in nothing:
        table.add_row(title(row), *["–"] * 4)
    console.print(table)
    for row in nothing:
        console.print(Text(f"{row['label'] or row['rule']}: {row['reason'] or row['state']}"))
    seeds = {row["seeds"] for row in rows}
    console.print(
        f"Mean ± standard deviation over {'/'.join(map(str, sorted(seeds)))} fresh seeds, ordered "
        "by validation loss. Every rule\ngot the same learning-rate grid and the same number of "
        "steps; the test split was read once.\n"
    )
    if copies := passed_over(client, job, compared):
        console.print(
            f"Left out: {copies} as good in the search, but near-copies of better ones or of "
            "hand-made ones.\n"
        )
    found = [row for row in rows if row["label"] is None]
    named = {row["label"] for row in rows} - {None}
    if not found or not set(DISCOVER["comparison"]["baselines"]) <= named:
        raise DemoError(f"the comparison is not whole: found {len(found)}, baselines {named}")
    return found[0]


def export(client: Client, row: dict[str, Any], home: Path) -> Path:
    """Write a rule to a file, show its heart and train an ordinary model with it."""
    path = home / "found_rule.py"
    text = client.export(row["rule_id"])
    path.write_text(text)
    console.print(f"The best found rule, exported to [bold]{path}[/bold]:\n")
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("def advance"))
    end = next(n for n in range(start, len(lines)) if not lines[n])
    console.print(Syntax("\n".join(lines[start:end]), "python", theme="ansi_light"))
    console.print("\nAn ordinary PyTorch model, trained with that file alone:\n")
    subprocess.run(
        [sys.executable, "-I", str(EXAMPLE), str(path), "--lr", f"{row['lr']:g}"], check=True
    )
    return path


def show(url: str, settings: Settings) -> None:
    """Run every step of the demonstration against a ready server."""
    with Client(url) as client:
        tuned = follow(client, TUNE)
        best = client.best(tuned["id"])[0]
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in best["parameters"].items())
        console.print(f"AdamW, tuned: validation loss {best['value']:.4f} at {numbers}\n")

        found = follow(client, DISCOVER)
        ends = ", ".join(f"{count} {end}" for end, count in tally(client, found).items())
        console.print(f"{found['judged']} rules judged: {ends}\n")
        if found["judged"] < DISCOVER["budget"]["rules"]:
            raise DemoError("fewer rules were judged than the budget asked for")
        export(client, leaderboard(client, found), settings.home)


def main() -> int:
    """Run the demonstration; return 0 only if every step really happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exit", action="store_true", help="stop after the last step")
    arguments = parser.parse_args()
    settings = Settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    server: subprocess.Popen[bytes] | None = None
    try:
        port = free_port(settings.port)
        server = start_server(port)
        show(f"http://127.0.0.1:{port}", settings)
        console.print(f"\nEvery step took {time.monotonic() - began:.0f} s together.")
        if not arguments.exit:
            console.print(
                f"Dashboard: [bold]http://127.0.0.1:{port}[/bold]   (Ctrl-C stops; "
                "'make serve' shows the same results again)"
            )
            server.wait()
    except (ClientError, DemoError, OSError, subprocess.CalledProcessError) as error:
        console.print(f"[bold red]The demonstration failed:[/bold red] {error}")
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
    finally:
        if server is not None:
            stop(server)
    return 0


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server; politely, then not."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
