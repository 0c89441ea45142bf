"""The command line `rulesmith`.

Exit status: 0 done; 1 the service refused, or the job watched did not succeed; 2 wrong use;
3 the service does not answer.
"""

# ruff: noqa: A001, A002 - options are named as the REST interface names them

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from service import documents, listing, terminal
from service.client import ApiError, Client, ClientError, Resource, Unreachable
from service.connection import (
    Json,
    Token,
    Url,
    complaints,
    connected,
    console,
    job_named,
    only,
    print_json,
    take_home,
)
from service.operation import app as operation
from service.operation import tokens
from service.terminal import WrongUse
from service.tuning import app as tuning

REFUSED, WRONG_USE, AWAY = 1, 2, 3

app = typer.Typer(
    name="rulesmith",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hyperparameter search as a service that also discovers optimizers.",
)
app.add_typer(operation)
app.add_typer(tuning)
app.add_typer(tokens, name="token")

Filter = Annotated[str, typer.Option(help="Say, 'state = RUNNING'.")]
OrderBy = Annotated[str, typer.Option(help="Say, 'best desc, name'.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows at most.")]


def read_job(path: str) -> Resource:
    """Return the job body in a JSON or YAML file, `-` for standard input.

    Raises:
        WrongUse: If the file cannot be read or holds no JSON or YAML object.
    """
    job = documents.read(path)
    if not isinstance(job, dict):
        raise WrongUse(f"{path} holds {type(job).__name__}, not an object with 'kind', 'name' …")
    documents.check_json(job, path)
    return job


@app.command()
def submit(
    file: Annotated[str, typer.Argument(help="JSON or YAML; - for standard input.")],
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the file.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Submit a job."""
    body = read_job(file)
    with connected(url, token) as client:
        job = client.submit(body, validate_only=check)
        if check:
            print_json(job["spec"]) if as_json else console.print(
                f"{escape(file)} is a valid job", soft_wrap=True
            )
            return
        if not as_json:
            where = f"{client.url}/jobs/{job['id']}"
            console.print(f"{job['id']} is {terminal.state(job['state'])}: {where}", soft_wrap=True)
        if watch:
            _watch(client, job["id"], as_json)
        elif as_json:
            print_json(job)


@app.command("jobs")
def list_jobs(
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List jobs, newest first."""
    with connected(url, token) as client:
        found = _first(client.jobs(filter, order_by), limit)
    if as_json:
        print_json(found)
    elif found:
        listing.show(console, terminal.jobs_listing(found))
    else:
        console.print("There are no jobs; submit one with 'rulesmith submit FILE'.")


def _first(items: Iterator[Resource], limit: int) -> list[Resource]:
    return [item for item, _ in zip(items, range(limit), strict=False)]


def _export(client: Client, rule: str, format: str) -> str:
    """Return a rule's file, the rule named also by the beginning of the id on the leaderboard."""
    try:
        return client.export(rule, format)
    except ApiError as error:
        if error.status != 404 or not documents.is_beginning(rule):
            raise
        like = client.rules(f'rule_id : "{rule}"')
        found = [row["rule_id"] for row in like if row["rule_id"].startswith(rule)]
        return client.export(only("rule", rule, found, error), format)


@app.command()
def show(job_id: str, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show a job, by its id or the first characters of it, and its best trials."""
    with connected(url, token) as client:
        job = job_named(client, job_id)
        best = client.best(job["id"], 5)
    if as_json:
        print_json({"job": job, "best": best})
    else:
        terminal.show_job(console, job, best)


@app.command()
def watch(job_id: str, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Follow a job to its end; exit status 1 unless it succeeds."""
    with connected(url, token) as client:
        _watch(client, job_named(client, job_id)["id"], as_json)


def _watch(client: Client, job_id: str, as_json: bool) -> None:
    if as_json:
        state = ""
        for event in client.watch(job_id):
            print(json.dumps(event), flush=True)
            state = event["body"].get("state", state)
    else:
        state = terminal.follow(console, client.job(job_id), client.watch(job_id))
        terminal.show_job(console, client.job(job_id), client.best(job_id, 5))
    if state != "SUCCEEDED":
        raise typer.Exit(REFUSED)


def _steer(action: str, job_id: str, as_json: bool, url: str | None, token: str | None) -> None:
    with connected(url, token) as client:
        job = getattr(client, action)(job_id)
    if as_json:
        print_json(job)
    else:
        console.print(f"{job['id']} is {terminal.state(job['state'])}")


@app.command()
def pause(job_id: str, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Pause a job."""
    _steer("pause", job_id, as_json, url, token)


@app.command()
def resume(job_id: str, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Go on with a paused job."""
    _steer("resume", job_id, as_json, url, token)


@app.command()
def cancel(job_id: str, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """End a job; what it found stays."""
    _steer("cancel", job_id, as_json, url, token)


@app.command()
def replay(
    job_id: str,
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Run a trial again on this machine; exit status 1 unless every figure is the same."""
    with connected(url, token) as client:
        found = client.replay(job_named(client, job_id)["id"], trial)
    # Loaded here: the other commands start without torch.
    from service import replay as replaying
    from service.resources import Replay

    recorded = Replay.model_validate(found)
    replayed = replaying.replay(recorded)
    figures = replaying.figures(recorded.outcome, replayed)
    same = all(figure.same for figure in figures)
    reason = replaying.elsewhere(recorded.outcome, replayed)
    if as_json:
        rows = [figure._asdict() | {"same": figure.same} for figure in figures]
        print_json({"same": same, "elsewhere": reason, "figures": rows})
    else:
        terminal.show_replay(console, figures, reason)
    if not same:
        raise typer.Exit(REFUSED)


@app.command()
def rules(
    job: Annotated[str | None, typer.Option(help="Only rules of this job.")] = None,
    task: Annotated[str | None, typer.Option(help="Only standings on this task.")] = None,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show the leaderboard."""
    if job is not None:
        own = f"job_id = {json.dumps(job)}"
        filter = f"({filter}) AND {own}" if filter else own
    with connected(url, token) as client:
        found = _first(client.rules(filter, order_by, task), limit)
    if as_json:
        print_json(found)
    elif found:
        listing.show(console, terminal.standings_listing(found))
    else:
        console.print("No rule has been judged yet.")


@app.command()
def export(
    rule: Annotated[
        str, typer.Argument(help="A rule's id, its beginning, or an optimizer's name.")
    ],
    format: Annotated[str, typer.Option(help="torch, optax or latex.")] = "torch",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write.")] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Take a rule home as one file."""
    with connected(url, token) as client:
        text = _export(client, rule, format)
    take_home(text, output)


@app.command()
def optimizers(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List the optimizers that a tune job can name."""
    with connected(url, token) as client:
        found = client.optimizers()
    if as_json:
        print_json(found)
        return
    rows = [
        (entry["name"], terminal.figure(entry["lr"]), entry["rule"].strip().splitlines()[-1])
        for entry in found
    ]
    heads, right = ("name", "lr", "last line of the rule"), frozenset({"lr"})
    listing.show(console, listing.Listing(heads, rows, right, one_line=True))


@app.command()
def tasks(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List the tasks that a job can name."""
    with connected(url, token) as client:
        found = client.tasks()
    if as_json:
        print_json(found)
        return
    rows = [(task["name"], ", ".join(task["metrics"]), task["description"]) for task in found]
    heads = ("name", "metrics", "description")
    listing.show(console, listing.Listing(heads, rows, one_line=True))


def _complain(error: Exception) -> None:
    complaints.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; errors are sentences on standard error, never tracebacks."""
    try:
        app()
    except WrongUse as error:
        _complain(error)
        sys.exit(WRONG_USE)
    except Unreachable as error:
        _complain(error)
        sys.exit(AWAY)
    except (ApiError, ClientError) as error:
        _complain(error)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
