"""What the command line shows: tables of jobs and rules, and a job as it runs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

Resource = dict[str, Any]

COLOURS = {
    "SUCCEEDED": "green",
    "RUNNING": "cyan",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "PAUSED": "yellow",
}
NOTHING = "–"


class WrongUse(Exception):  # noqa: N818 - what happened, not a fault of the program
    """A command cannot do what it was asked; the sentence says why and what to do."""


def figure(value: Any) -> str:
    """Return a number in four significant digits, a dash for None, other things as text."""
    if value is None:
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    return f"{value:.4g}"


def state(name: str) -> str:
    """Return a state with its colour, as markup."""
    colour = COLOURS.get(name)
    return f"[{colour}]{name}[/{colour}]" if colour else name


def judged(job: Resource) -> int:
    """Return how much of a job's budget has an answer."""
    return int(min(job["budget"], job["judged"]))


def jobs_table(jobs: Iterable[Resource]) -> Table:
    """Return jobs, one per row."""
    table = Table("id", "name", "kind", "task", "state", "judged", "best", box=None, pad_edge=False)
    for job in jobs:
        spec = job["spec"]
        table.add_row(
            job["id"],
            escape(spec["name"]),
            spec["kind"],
            spec["task"]["name"],
            state(job["state"]),
            f"{judged(job)}/{job['budget']}",
            figure(job["best"]),
        )
    return table


def show_job(console: Console, job: Resource, best: list[Resource]) -> None:
    """Print a job and its best trials."""
    spec = job["spec"]
    objective = spec["objective"]
    grid = Table.grid(padding=(0, 2))
    rows = [
        ("job", job["id"]),
        ("name", escape(spec["name"])),
        ("state", state(job["state"])),
        ("error", escape(job["error"]) if job.get("error") else None),
        ("task", f"{spec['task']['name']}: {objective['direction']} {objective['metric']}"),
        ("judged", f"{judged(job)} of {job['budget']}"),
        ("trials", ", ".join(f"{count} {name}" for name, count in job["trials"].items())),
        ("best", figure(job["best"])),
        ("notes", escape(job["notes"]) if job.get("notes") else None),
    ]
    for name, value in rows:
        if value:
            grid.add_row(f"[dim]{name}[/dim]", value)
    console.print(grid)
    if best:
        console.print()
        console.print(trials_table(best, spec["kind"]))


def trials_table(trials: Iterable[Resource], kind: str) -> Table:
    """Return trials, one per row, with their point (tune) or rule (discover)."""
    what = "parameters" if kind == "tune" else "rule"
    table = Table("trial", "value", "lr", box=None, pad_edge=False)
    table.add_column(what, no_wrap=True, overflow="ellipsis")
    for trial in trials:
        if kind == "tune":
            shown = ", ".join(f"{k}={figure(v)}" for k, v in trial["parameters"].items())
        else:
            shown = escape("; ".join(trial["rule"].splitlines()))
        table.add_row(str(trial["number"]), figure(trial["value"]), figure(trial["lr"]), shown)
    return table


def standings_table(standings: Sequence[Resource]) -> Table:
    """Return the leaderboard, one rule on one task per row.

    Task and metric are columns only where they differ; text is cut to the terminal's width.
    """
    places = {(row["task"], row["metric"]) for row in standings}
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("rule", no_wrap=True, overflow="ellipsis", ratio=1)
    if len(places) > 1:
        table.add_column("task", no_wrap=True)
        table.add_column("metric", no_wrap=True)
    else:
        table.title = ": ".join(*places)
        table.title_justify = "left"
    for name in ("value", "± spread", "test", "lr", "seeds", "steps"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in standings:
        metric = row["metric"]
        test = row["metrics"].get(metric.replace("validation_", "test_"))
        table.add_row(
            row["rule_id"],
            escape(row["label"] or "; ".join(row["rule"].splitlines())),
            *([row["task"], metric] if len(places) > 1 else []),
            figure(row["value"]),
            figure(row["spread"].get(metric)) if row["seeds"] > 1 else NOTHING,
            figure(test if metric.startswith("validation_") else None),
            figure(row["lr"]),
            str(row["seeds"]),
            str(row["steps"]),
        )
    return table


def follow(console: Console, job: Resource, events: Iterator[Resource]) -> str:
    """Show a job as its events come in, and return the state it is in at the end."""
    current: str = job["state"]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("best {task.fields[best]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        row = progress.add_task(
            escape(job["spec"]["name"]),
            total=job["budget"],
            completed=judged(job),
            best=figure(job["best"]),
        )
        for event in events:
            body = event["body"]
            if event["kind"] == "job" and "state" in body:
                current = body["state"]
                why = f": {escape(body['error'])}" if body.get("error") else ""
                progress.console.print(f"{escape(job['id'])} is {state(current)}{why}")
            elif event["kind"] == "log":
                progress.console.print(f"[dim]{escape(str(body.get('sentence', '')))}[/dim]")
            elif event["kind"] == "trials":
                done = min(job["budget"], body.get("judged", 0))
                progress.update(row, completed=done, best=figure(body.get("best")))
    return current
