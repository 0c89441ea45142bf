"""The database: one engine for SQLite or PostgreSQL, its transactions, its migrations."""

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.store.errors import (
    ForeignDatabase,
    SchemaError,
    StorageFull,
    StoreError,
    Unavailable,
)
from service.store.ownership import owned
from service.store.tables import metadata

BUSY_SECONDS = 10
"""How long a statement waits for another writer before the store is called unavailable."""

# Any number, but the same in every process: API and dispatcher may start, and migrate, together.
_MIGRATION_LOCK = 7_301_965


@dataclass(frozen=True)
class Transaction:
    """An open write: its connection and the database's own time, the clock of every lease."""

    connection: Connection
    now: datetime


class Database:
    """The engine behind the store. Thread-safe.

    SQLite is written through one connection at a time, each transaction begun IMMEDIATE: a
    deferred one that reads before it writes fails at once, whatever the busy timeout.

    Args:
        url: an SQLAlchemy URL of SQLite (a file) or PostgreSQL.

    Raises:
        ValueError: another back end, or SQLite in memory, which threads cannot share.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if not self.is_sqlite and parsed.get_backend_name() != "postgresql":
            raise ValueError(
                f"the database is {parsed.get_backend_name()!r}; allowed: sqlite, postgresql"
            )
        if self.is_sqlite and parsed.database in (None, "", ":memory:"):
            raise ValueError("SQLite needs a file, as in sqlite:///rulesmith.db")
        self.file = Path(parsed.database).resolve() if parsed.database and self.is_sqlite else None
        """The SQLite file; None for PostgreSQL."""
        self._where = self.file or parsed.render_as_string(hide_password=True)
        self.engine = _sqlite(url) if self.is_sqlite else _postgresql(url)
        self._writer = self.engine.execution_options(rulesmith_write=True)
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self._latest = datetime.min.replace(tzinfo=UTC)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with _translated(self._where), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that writes: all of it is kept, or none."""
        with _translated(self._where), self._turn, self._writer.begin() as connection:
            yield Transaction(connection, self._now(connection))

    def _now(self, connection: Connection) -> datetime:
        if not self.is_sqlite:
            moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
            return moment.astimezone(UTC)
        # One process owns the file, so its clock is the database's; it must not run backwards.
        self._latest = max(self._latest, datetime.now(UTC))
        return self._latest

    def migrate(self) -> None:
        """Bring the schema to this version's, from nothing or from any earlier version.

        Raises:
            SchemaError: the database was written by a newer version.
            ForeignDatabase: it is another program's, or no database at all.
        """
        with self.write() as transaction:
            connection = transaction.connection
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            self._refuse_newer(connection)
            self._refuse_foreign(connection)
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check(self) -> None:
        """Raise SchemaError unless the schema is the one this version was written for.

        ForeignDatabase, which is one, if it is another program's, or no database at all.
        """
        with self.read() as connection:
            self._refuse_newer(connection)
            self._refuse_foreign(connection)
            current = MigrationContext.configure(connection).get_current_revision()
        head = _scripts().get_current_head()
        if current != head:
            raise SchemaError(
                f"the database's schema is {current or 'empty'} and this version needs {head}: "
                "run `rulesmith migrate`"
            )

    def _refuse_newer(self, connection: Connection) -> None:
        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in _scripts().walk_revisions()}
        if current is not None and current not in known:
            raise SchemaError(
                f"the database's schema {current} was written by a newer version of rulesmith; "
                "install that version or restore a backup"
            )

    def _refuse_foreign(self, connection: Connection) -> None:
        if MigrationContext.configure(connection).get_current_revision() is not None:
            return
        tables = set(inspect(connection).get_table_names()) - {"alembic_version"}
        # A PostgreSQL database may be shared, as long as no table has the name of one of ours.
        met = tables if self.is_sqlite else tables & metadata.tables.keys()
        if met:
            names = ", ".join(sorted(met)[:3])
            raise ForeignDatabase(self._where, f"it has tables of another program: {names}")

    def fresh(self) -> bool:
        """Whether the database has no schema yet."""
        with self.read() as connection:
            return MigrationContext.configure(connection).get_current_revision() is None

    def owned(self) -> AbstractContextManager[None]:
        """Own the SQLite file until the block is left; PostgreSQL has many users.

        Raises:
            Owned: another process owns it.
        """
        return nullcontext() if self.file is None else owned(self.file)

    def ping(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def upsert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that can say ON CONFLICT, which both back ends have in one form."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=16,
        max_overflow=48,
        pool_timeout=BUSY_SECONDS,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        json_serializer=_to_json,
    )

    def configure(connection: Any, record: Any) -> None:
        # The driver's own transaction control is off: BEGIN is ours, see `begin`.
        connection.isolation_level = None
        cursor = connection.cursor()
        tables = {name for (name,) in cursor.execute(_TABLES)}
        if not tables or "alembic_version" in tables:
            # The mode is written into the file, and another program's file is not ours to change.
            cursor.execute("PRAGMA journal_mode=WAL")
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("rulesmith_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


def _postgresql(url: str) -> Engine:
    limits = f"-c lock_timeout={BUSY_SECONDS}s -c statement_timeout=60s"
    return create_engine(
        url,
        pool_size=8,
        max_overflow=40,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "application_name": "rulesmith",
            "connect_timeout": BUSY_SECONDS,
            "options": f"{limits} -c idle_in_transaction_session_timeout=60s",
        },
        json_serializer=_to_json,
    )


_to_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def _alembic() -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_alembic())


@contextmanager
def _translated(where: object) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        translated = _translation(error, where)
        if translated is None:
            raise
        raise translated from error
    except PoolTimeout as error:
        raise Unavailable("every database connection is in use; try again later") from error


def _translation(error: DBAPIError, where: object) -> StoreError | None:
    original = error.orig
    sqlstate = getattr(original, "sqlstate", None) or ""
    sqlite = getattr(original, "sqlite_errorname", None) or ""
    if sqlite.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return ForeignDatabase(where, str(original))
    if sqlstate == "53100" or sqlite == "SQLITE_FULL":
        return StorageFull("the database has no room left: nothing was written; free disk space")
    unreachable = error.connection_invalidated or sqlstate[:2] in ("08", "57")
    # Lock and statement time-outs, deadlock, too many connections: the same call may succeed later.
    busy = sqlstate in ("55P03", "40P01", "40001", "53300") or sqlite.startswith(
        ("SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_READONLY")
    )
    refused = sqlstate == "" and type(original).__module__.startswith("psycopg")
    if unreachable or busy or (refused and type(original).__name__ == "OperationalError"):
        reason = str(original).strip().splitlines()[0] if str(original).strip() else "no answer"
        return Unavailable(f"the database is unavailable ({reason}); try again later")
    return None
