"""What the commands that ask a service share: address, client, jobs by name, files taken home."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from service import documents
from service.addresses import DEFAULT_URL
from service.client import ApiError, Client, Resource
from service.terminal import WrongUse

console = Console()
complaints = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Url = Annotated[
    str | None,
    typer.Option(
        envvar="RULESMITH_URL",
        help="The service's address.",
        show_default=f"{DEFAULT_URL}, or the port in RULESMITH_PORT",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(envvar="RULESMITH_TOKEN", show_envvar=True, help="Bearer token.", hidden=True),
]


@contextmanager
def connected(url: str | None, token: str | None) -> Iterator[Client]:
    """Lend a client of the service at an address."""
    try:
        client = Client(url, token)
    except ValueError as error:
        raise WrongUse(str(error)) from error
    with client:
        yield client


def print_json(value: Any) -> None:
    """Print what a machine reads."""
    print(json.dumps(value, indent=2))


def take_home(text: str, output: Path | None) -> None:
    """Write a text into a file and say so, or print it where none is named."""
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise WrongUse(f"cannot write {output}: {error}") from error
    complaints.print(f"wrote {escape(str(output))}")


def job_named(client: Client, job_id: str) -> Resource:
    """Return the job with this id, or the only one whose id begins so."""
    try:
        return client.job(job_id)
    except ApiError as error:
        if error.status != 404 or not documents.is_beginning(job_id):
            raise
        like = client.jobs(f'id : "{job_id}"')
        found = [job["id"] for job in like if job["id"].startswith(job_id)]
        return client.job(only("job", job_id, found, error))


def only(what: str, beginning: str, found: list[str], missing: ApiError) -> str:
    """Return the one that was found; raise `missing` for none and WrongUse for several."""
    match sorted(set(found)):
        case []:
            raise missing
        case [one]:
            return one
        case several:
            names = ", ".join(several[:5]) + (" …" if len(several) > 5 else "")
            raise WrongUse(f"{len(several)} {what}s begin with '{beginning}': {names}; give more")
