"""The commands that work on this machine's service itself: serve, dispatch, migrate, tokens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from service.terminal import WrongUse

if TYPE_CHECKING:
    # Loaded when a command needs them: the other commands start without torch and SQL.
    from service.settings import Settings
    from service.store.store import Store

app = typer.Typer(no_args_is_help=True)
tokens = typer.Typer(
    no_args_is_help=True,
    help="Bearer tokens. Once one was made every request needs one, also after the last is "
    "revoked; these commands work on the service's own machine and need none.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Home = Annotated[
    Path | None, typer.Option(help="Folder of the embedded database (RULESMITH_HOME).")
]


@contextmanager
def _understood() -> Iterator[None]:
    """Turn the errors that a person can mend into sentences."""
    from service.store.errors import StoreError

    try:
        yield
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise WrongUse("settings: " + "; ".join(faults)) from error
    except (StoreError, ValueError, OSError) as error:
        raise WrongUse(str(error)) from error


def _settings(**given: Any) -> "Settings":
    from service.settings import Settings

    return Settings(**{name: value for name, value in given.items() if value is not None})


@contextmanager
def _store(home: Path | None) -> "Iterator[Store]":
    from service.store.store import Store

    with _understood():
        store = Store(_settings(home=home).store_url())
        try:
            if store.fresh():
                # Tokens come before the first serve where the service is not for loopback alone.
                store.migrate()
            store.check()
            yield store
        finally:
            store.close()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one.")] = None,
    home: Home = None,
    no_dispatcher: Annotated[
        bool, typer.Option("--no-dispatcher", help="Leave jobs to 'rulesmith dispatch'.")
    ] = False,
) -> None:
    """Serve API and dashboard, and run the jobs."""
    from service.server import serve as run

    with _understood():
        run(
            _settings(host=host, port=port, home=home),
            dispatch=not no_dispatcher,
            say=lambda text: print(text, flush=True),
        )


@app.command()
def dispatch(home: Home = None) -> None:
    """Run jobs without serving; for a server started with --no-dispatcher."""
    from service.server import dispatch as run

    with _understood():
        run(_settings(home=home), say=lambda text: print(text, flush=True))


@app.command()
def migrate(home: Home = None) -> None:
    """Bring the database to this version's schema."""
    from service.store.store import Store

    with _understood():
        store = Store(_settings(home=home).store_url())
        try:
            _migrate(store)
        finally:
            store.close()
    print("The database is at this version's schema.")


def _migrate(store: "Store") -> None:
    from service.store.errors import ForeignDatabase, SchemaError

    try:
        store.check()
    except ForeignDatabase:
        raise
    except SchemaError:
        # A running service would be left with a schema that it does not know.
        with store.owned():
            store.migrate()


@tokens.command("create")
def create(name: str, home: Home = None, as_json: Json = False) -> None:
    """Make a token and print it, once."""
    with _store(home) as store:
        secret = store.create_token(name)
    print(json.dumps({"name": name, "token": secret}) if as_json else secret)


@tokens.command("list")
def list_tokens(home: Home = None, as_json: Json = False) -> None:
    """List tokens by name; the secrets are not kept."""
    with _store(home) as store:
        found = store.tokens()
    if as_json:
        print(json.dumps([asdict(token) for token in found], default=str))
        return
    if not found:
        print("There are no tokens; make one with 'rulesmith token create NAME'.")
        return
    table = Table("name", "created", "last used", "revoked", box=None, pad_edge=False)
    for token in found:
        moments = (token.created, token.used, token.revoked)
        table.add_row(token.name, *(f"{m:%Y-%m-%d %H:%M}" if m else "–" for m in moments))
    Console().print(table)


@tokens.command("revoke")
def revoke(name: str, home: Home = None) -> None:
    """Make a token useless from now on.

    Revoking the last one does not open the service again: every request is refused until
    'rulesmith token create NAME', on the service's machine, makes a new one.
    """
    with _store(home) as store:
        store.revoke_token(name)
        last = all(token.revoked for token in store.tokens())
    print(f"The token {name} is revoked.")
    if last:
        print(
            "It was the last one: the service now refuses every request, from this machine too. "
            "To get back in, make a new one here with 'rulesmith token create NAME'."
        )
