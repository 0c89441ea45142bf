import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, text

from service.store.database import Database
from service.store.errors import SchemaError, StorageFull, Unavailable
from service.store.store import Store
from service.store.tables import metadata
from tests.service.store.samples import complete, proposal, running


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def test_from_nothing_to_ready(empty_url: str) -> None:
    store = Store(empty_url)
    store.ping()
    with pytest.raises(SchemaError, match=r"schema is empty .* run `rulesmith migrate`"):
        store.check()
    store.migrate()
    store.check()
    store.migrate()
    store.check()
    assert store.jobs().total == 0
    store.close()


def test_two_processes_may_migrate_together(empty_url: str) -> None:
    """As the API and the dispatcher do when they start together."""
    stores = [Store(empty_url) for _ in range(2)]
    failures: list[BaseException] = []

    def migrate(store: Store) -> None:
        try:
            store.migrate()
        except BaseException as error:
            failures.append(error)

    if empty_url.startswith("sqlite"):  # one process owns the file, so one after the other
        for store in stores:
            migrate(store)
    else:
        # Alembic's own state belongs to a process; the second stands in for another one.
        with stores[0]._database.write() as transaction:
            transaction.connection.execute(text("SELECT pg_advisory_xact_lock(7301965)"))
            thread = threading.Thread(target=migrate, args=(stores[1],))
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join()
    assert failures == []
    stores[1].check()
    for store in stores:
        store.close()


def test_the_migrations_make_the_tables(store_url: str) -> None:
    database = Database(store_url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_trials_of_before_have_their_jobs_task(empty_url: str) -> None:
    store = Store(empty_url)
    store.migrate()
    job, claim = running(store)
    store.record_asked(claim, [proposal(0)])
    with store._database.write() as transaction:
        transaction.connection.execute(text("ALTER TABLE trials DROP COLUMN task"))
        transaction.connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    store.migrate()
    assert store.trial(job.id, 0).task == "digits-mlp"
    store.close()


def test_a_newer_schema_is_refused(empty_url: str) -> None:
    store = Store(empty_url)
    store.migrate()
    with store._database.write() as transaction:
        transaction.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for call in (store.check, store.migrate):
        with pytest.raises(SchemaError, match="9999 was written by a newer version"):
            call()
    store.close()


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: sqlite, postgresql|SQLite needs a file"):
        Store(url)


def test_sqlite_keeps_what_it_promised(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.read() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 2, 1, 10_000]
    database.close()


def test_a_full_disk_refuses_writes_and_goes_on_reading(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    job, claim = running(store)
    store.record_asked(claim, [proposal(0)])
    limits: list[int] = []
    connections = store._database.engine

    def limit(pages: int) -> None:
        connections.dispose()
        limits[:] = [pages]

    @event.listens_for(connections, "connect")
    def restrict(connection: sqlite3.Connection, record: object) -> None:
        for pages in limits:
            connection.execute(f"PRAGMA max_page_count={pages}")

    before = (store.job(job.id), store.events(job.id), store.history(job.id))
    limit(1)  # SQLite takes the present size where less is asked
    with pytest.raises(StorageFull, match="no room left: nothing was written; free disk space"):
        store.record_told(claim, [complete(0, 0.5)], b"x" * 100_000)
    assert (store.job(job.id), store.events(job.id), store.history(job.id)) == before
    store.check()
    limit(1_000_000)
    store.record_told(claim, [complete(0, 0.5)], b"x" * 100_000)
    assert store.job(job.id).best == 0.5
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    store.close()


def test_a_postgresql_that_is_away(postgres_url: str, tmp_path: Path) -> None:
    store = Store(f"postgresql+psycopg://postgres@/postgres?host={tmp_path}")
    with pytest.raises(Unavailable, match=r"the database is unavailable .* try again later"):
        store.ping()
    store.close()


def test_cut_connections_heal(postgres_url: str) -> None:
    store, other = Store(postgres_url), Store(postgres_url)
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    running(store)
    with other._database.write() as transaction:
        transaction.connection.execute(cut)
    assert store.jobs().total == 1

    def write_while_cut() -> None:
        with store._database.write() as mine:
            mine.connection.execute(text("UPDATE jobs SET notes = 'half'"))
            with other._database.write() as transaction:
                transaction.connection.execute(cut)
            mine.connection.execute(text("UPDATE jobs SET notes = 'whole'"))

    with pytest.raises(Unavailable):
        write_while_cut()
    assert store.jobs().items[0].notes == ""
    store.close()
    other.close()
