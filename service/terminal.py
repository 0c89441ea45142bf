"""What the command line shows: lists of jobs and rules, and a job as it runs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from service.listing import Listing, show

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


def jobs_listing(jobs: Iterable[Resource]) -> Listing:
    """Return jobs, one per row."""
    rows = [
        (
            job["id"],
            Text.from_markup(state(job["state"])),
            f"{judged(job)}/{job['budget']}",
            figure(job["best"]),
            job["spec"]["kind"],
            job["spec"]["task"]["name"],
            job["spec"]["name"],
        )
        for job in jobs
    ]
    heads = ("id", "state", "judged", "best", "kind", "task", "name")
    return Listing(heads, rows, frozenset({"judged", "best"}))


def show_job(console: Console, job: Resource, best: list[Resource]) -> None:
    """Print a job and its best trials."""
    spec = job["spec"]
    rows = [
        ("job", job["id"]),
        ("name", escape(spec["name"])),
        ("tunes", escape(_tuned(spec)) if spec["kind"] == "tune" else None),
        ("state", state(job["state"])),
        ("error", escape(job["error"]) if job.get("error") else None),
        ("task", f"{spec['task']['name']}: {_aims(spec)}"),
        ("judged", f"{judged(job)} of {job['budget']}"),
        ("trials", ", ".join(f"{count} {name}" for name, count in job["trials"].items())),
        ("best", figure(job["best"])),
        ("notes", escape(job["notes"]) if job.get("notes") else None),
    ]
    for name, value in rows:
        if value:
            console.print(f"[dim]{name:6}[/dim]  {value}", soft_wrap=True, highlight=False)
    if best:
        console.print()
        show(console, trials_listing(best, spec["kind"], _others(spec)))


def _others(spec: Resource) -> list[str]:
    """Return what else than its objective a job's trials are judged by."""
    aims = [each["metric"] for name in ("objectives", "constraints") for each in spec.get(name, ())]
    return [name for name in dict.fromkeys(aims) if name != spec["objective"]["metric"]]


def _aims(spec: Resource) -> str:
    """Return the objectives of a job, and the bounds that its trials must keep."""
    objectives = spec.get("objectives") or [spec["objective"]]
    said = [f"{each['direction']} {each['metric']}" for each in objectives]
    for each in spec.get("constraints", ()):
        sign, bound = ("<=", "at_most") if each["at_least"] is None else (">=", "at_least")
        said.append(f"{each['metric']} {sign} {each[bound]:g}")
    return ", ".join(said)


def _tuned(spec: Resource) -> str:
    """Return what a tune job holds fixed: an optimizer's name, or a rule's text in one line."""
    return spec["optimizer"] or "; ".join(spec["rule"].splitlines())


def trials_listing(trials: Iterable[Resource], kind: str, others: Sequence[str] = ()) -> Listing:
    """Return trials, one per row, with their point (tune) or rule (discover).

    `others` are metrics and costs that have a column beside the objective's.
    """
    rows = []
    for trial in trials:
        if kind == "tune":
            shown = ", ".join(f"{k}={figure(v)}" for k, v in trial["parameters"].items())
        else:
            shown = "; ".join(trial["rule"].splitlines())
        rows.append(
            (
                str(trial["number"]),
                figure(trial["value"]),
                *(figure(trial["metrics"].get(name, trial.get(name))) for name in others),
                figure(trial["lr"]),
                trial["rule_id"],
                shown,
            )
        )
    what = "parameters" if kind == "tune" else "rule"
    heads = ("trial", "value", *others, "lr", "rule id", what)
    return Listing(heads, rows, frozenset({"trial", "value", *others, "lr"}))


def standings_listing(standings: Sequence[Resource]) -> Listing:
    """Return the leaderboard, one rule on one task per row.

    Task and metric are columns only where they differ.
    """
    places = {(row["task"], row["metric"]) for row in standings}
    several = len(places) > 1
    figures = ("value", "± spread", "test", "lr", "seeds", "steps")
    rows = []
    for row in standings:
        metric = row["metric"]
        test = row["metrics"].get(metric.replace("validation_", "test_"))
        rows.append(
            (
                row["rule_id"],
                *([row["task"], metric] if several else []),
                figure(row["value"]),
                figure(row["spread"].get(metric)) if row["seeds"] > 1 else NOTHING,
                figure(test if metric.startswith("validation_") else None),
                figure(row["lr"]),
                str(row["seeds"]),
                str(row["steps"]),
                row["label"] or "; ".join(row["rule"].splitlines()),
            )
        )
    heads = ("id", *(["task", "metric"] if several else []), *figures, "rule")
    title = "" if several else ": ".join(*places)
    return Listing(heads, rows, frozenset(figures), title)


def show_replay(
    console: Console, figures: Sequence[tuple[str, object, object]], elsewhere: str | None
) -> None:
    """Print figures as they were recorded and as they came out now, side by side."""
    rows = [
        (name, *(NOTHING if value is None else str(value) for value in values))
        for name, *values in figures
    ]
    show(console, Listing(("figure", "recorded", "replayed"), rows, frozenset()))
    different = [name for name, recorded, replayed in figures if recorded != replayed]
    if elsewhere is not None:
        console.print(f"{elsewhere}: digits may differ", highlight=False, soft_wrap=True)
    if different:
        console.print(f"different: {', '.join(different)}", highlight=False, soft_wrap=True)
    else:
        console.print("the same to the digit")


def _lines(console: Console, job: Resource, events: Iterator[Resource]) -> str:
    """Print a job's events as plain lines, for logs and pipes."""
    current: str = job["state"]
    for event in events:
        body, line = event["body"], None
        if event["kind"] == "job" and "state" in body:
            current = body["state"]
            why = f": {body['error']}" if body.get("error") else ""
            line = f"{job['id']} is {current}{why}"
        elif event["kind"] == "log":
            line = str(body.get("sentence", ""))
        elif event["kind"] == "trials":
            done = min(job["budget"], body.get("judged", 0))
            line = f"{job['id']} {done}/{job['budget']} judged, best {figure(body.get('best'))}"
        if line is not None:
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    return current


def follow(console: Console, job: Resource, events: Iterator[Resource]) -> str:
    """Show a job as its events come in, and return the state it is in at the end."""
    if not console.is_terminal:
        return _lines(console, job, events)
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
