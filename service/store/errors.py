# ruff: noqa: N818  (the names are the contract: `except NotFound` reads better)
"""What the store refuses, and why: each error says the value, what is allowed and what to do."""

from collections.abc import Iterable


class StoreError(Exception):
    """The base of the store's errors."""


class NotFound(StoreError):
    """There is no such job, trial, rule or token."""

    def __init__(self, what: str, name: object) -> None:
        self.what = what
        self.name = str(name)
        super().__init__(f"there is no {what} {str(name)[:80]!r}")


class StateConflict(StoreError):
    """The action does not fit the state."""

    def __init__(self, action: str, state: str, allowed: Iterable[str], remedy: str = "") -> None:
        self.action = action
        self.state = state
        self.allowed = tuple(allowed)
        sentence = f"cannot {action} in state {state}; allowed in {', '.join(self.allowed)}"
        super().__init__(f"{sentence}: {remedy}" if remedy else sentence)


class IdempotencyConflict(StoreError):
    """The same idempotency key came with another body."""

    def __init__(self, key: str, job_id: str) -> None:
        self.key = key
        self.job_id = job_id
        super().__init__(
            f"the idempotency key {key[:80]!r} was used for job {job_id} with another body; "
            "send the same body again or choose a new key"
        )


class QueryError(StoreError):
    """A list was asked for in words that it does not know."""

    def __init__(self, parameter: str, detail: str) -> None:
        self.parameter = parameter
        """`page_size`, `page_token`, `filter` or `order_by`."""
        self.detail = detail
        super().__init__(f"{parameter}: {detail}")


class LeaseLost(StoreError):
    """The job is no longer this dispatcher's: nothing was written; stop the run."""

    def __init__(self, job_id: str, epoch: int) -> None:
        self.job_id = job_id
        self.epoch = epoch
        super().__init__(
            f"claim {epoch} on job {job_id} is over: it was finished or another dispatcher "
            "took it; stop this run"
        )


class SchemaError(StoreError):
    """The database's schema is not the one this version was written for."""


class ForeignDatabase(SchemaError):
    """The file or database is not this service's: not SQLite, damaged, or another program's."""

    def __init__(self, where: object, why: str) -> None:
        super().__init__(
            f"{where} is not a database of rulesmith ({why}); move it away, restore a backup, or "
            "choose another with --home, RULESMITH_HOME or DATABASE_URL"
        )


class Owned(StoreError):
    """Another process owns the SQLite file."""

    def __init__(self, file: object, process: str) -> None:
        whose = f" (process {process})" if process else ""
        super().__init__(
            f"{file} is in use by a running service{whose}, and one process alone owns an SQLite "
            "file: stop that one, or give this one a folder of its own with --home or "
            "RULESMITH_HOME; a server and dispatchers of their own share PostgreSQL (DATABASE_URL)"
        )


class StorageFull(StoreError):
    """The database has no room left; nothing was written, reading goes on."""


class Unavailable(StoreError):
    """The database cannot be reached, or is too busy to answer in time."""
