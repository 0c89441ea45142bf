"""What the routes share: the store, identifiers that are safe to look up, and list queries."""

import re
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from service.settings import Settings
from service.store import query
from service.store.errors import NotFound
from service.store.store import Store

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def checked_identifier(what: str, value: str) -> str:
    """Return `value` if it could be an identifier of ours.

    Args:
        what: The noun, for the message: `job`, `rule`.
        value: From the URL; may hold anything, NUL and megabytes included.

    Raises:
        NotFound: If it could not: there is no such resource, and SQL is not asked.
    """
    if _IDENTIFIER.fullmatch(value) is None:
        raise NotFound(what, value)
    return value


def _job_id(job_id: Annotated[str, Path(description="The job's id.")]) -> str:
    return checked_identifier("job", job_id)


StoreDep = Annotated[Store, Depends(_store)]
SettingsDep = Annotated[Settings, Depends(_settings)]
JobId = Annotated[str, Depends(_job_id)]
TrialNumber = Annotated[int, Path(ge=0, lt=2**63, description="The trial's number in its job.")]


class Listing(BaseModel):
    """The parameters of every list; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page_size: Annotated[int, Field(ge=1, le=1000)] = 50
    page_token: Annotated[str, Field(max_length=2048)] | None = None
    """`next_page_token` of the page before."""

    filter: Annotated[str, Field(max_length=1024)] = ""
    """Comparisons joined by AND, say `state = COMPLETE AND value < 0.1`."""

    order_by: Annotated[str, Field(max_length=256)] = ""
    """Fields by weight, say `value desc, number`."""

    def query(self) -> query.Query:
        """Return the store's form of it."""
        return query.Query(
            page_size=self.page_size,
            page_token=self.page_token,
            filter=self.filter,
            order_by=self.order_by,
        )


ListingDep = Annotated[Listing, Query()]
