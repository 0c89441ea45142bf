"""Points that a person writes into the form of a job's page."""

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from service.store.errors import QueryError
from service.store.store import Store
from service.web.access import JobId
from service.web.jobs import Points, enqueue
from service.web.phrases import phrase
from service.web.problems import Problem


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields that have something in them."""
    written = {name: str(text).strip() for name, text in (await request.form()).items()}
    return {name: text for name, text in written.items() if text}


def _value(text: str) -> int | float | str:
    """Return a finite number where it is one: whole ones stay whole, as a batch size must."""
    for kind in (int, float):
        try:
            number = kind(text)
            finite = math.isfinite(number)
        except (ValueError, OverflowError):  # no such number, or an integer beyond every float
            continue
        # JSON has no others, so to the rest of the service what stands for one is a text.
        return number if finite else text
    return text


def add_form(routes: APIRouter, store: Store) -> None:
    """Add the address that the form is sent to."""

    @routes.post("/jobs/{job_id}/enqueue")
    def try_next(job_id: JobId, fields: Annotated[dict[str, str], Depends(_fields)]) -> Response:
        point = {name: _value(text) for name, text in fields.items()}
        try:
            enqueue(job_id, Points.model_validate({"enqueue": [point]}), store)
        except ValidationError as error:
            fault = error.errors()[0]
            raise QueryError("point", phrase(fault, fault["loc"])) from error
        except Problem as problem:
            # The pointer, which begins the detail, is for those who wrote JSON.
            told = problem.errors[0].detail if problem.errors else problem.detail
            raise QueryError("point", told) from problem
        return RedirectResponse(f"/jobs/{job_id}", 303)
