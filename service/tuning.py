"""The commands of tune jobs: points to try next, the front of several objectives."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service import documents, listing, terminal
from service.client import Resource
from service.connection import (
    Json,
    Token,
    Url,
    connected,
    console,
    job_named,
    print_json,
    take_home,
)
from service.terminal import WrongUse

app = typer.Typer(no_args_is_help=True)


def _points(values: list[str], file: str | None) -> list[dict[str, Any]]:
    """Return the point that the command line says, or those of a file."""
    if bool(values) == (file is not None):
        raise WrongUse("give a point, as in lr=0.01 weight_decay=0.1, or a --file of points")
    if file is not None:
        found = documents.read(file)
        points = found if isinstance(found, list) else [found]
        for point in points:
            if not isinstance(point, dict):
                kind = type(point).__name__
                raise WrongUse(f"{file} holds {kind}, not points such as {{lr: 0.01}}, or a list")
        return points
    point = {}
    for value in values:
        name, sign, written = value.partition("=")
        if not sign or not name or not written.strip():
            raise WrongUse(f"{value!r} is no value; write, say, lr=0.01")
        if name in point:
            raise WrongUse(f"{name} has two values; give one, or several points in a --file")
        point[name] = documents.parse(written, value)
    return [point]


@app.command()
def enqueue(
    job_id: str,
    values: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE, as lr=0.01.")] = None,
    file: Annotated[
        str | None, typer.Option(help="JSON or YAML with points instead; - for standard input.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Have a tune job try a point next, also while it runs; what it leaves out is sampled."""
    points = _points(values or [], file)
    documents.check_json(points, file or "the point")
    with connected(url, token) as client:
        job = client.enqueue(job_named(client, job_id)["id"], points)
    if as_json:
        print_json(job)
    else:
        what = "1 point" if len(points) == 1 else f"{len(points)} points"
        console.print(f"{job['id']} is {terminal.state(job['state'])} and tries {what} next")


@app.command()
def front(
    job_id: str,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, to take home.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File for CSV.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show the trials of a job with several objectives that no other beats in all of them."""
    with connected(url, token) as client:
        found = job_named(client, job_id)["id"]
        if csv or output is not None:
            take_home(client.front_csv(found), output)
            return
        front = client.front(found)
    if as_json:
        print_json(front)
    elif front["items"]:
        listing.show(console, _listing(front))
    else:
        console.print("No trial is complete yet.")


def _listing(front: Resource) -> listing.Listing:
    metrics = [objective["metric"] for objective in front["objectives"]]
    rows = []
    for entry in front["items"]:
        trial = entry["trial"]
        point = ", ".join(f"{k}={terminal.figure(v)}" for k, v in trial["parameters"].items())
        values = [terminal.figure(value) for value in entry["values"]]
        rows.append((str(trial["number"]), *values, point))
    heads = ("trial", *metrics, "parameters")
    return listing.Listing(heads, rows, frozenset(("trial", *metrics)))
