"""Errors as RFC 9457 problem+json: what is wrong, where, what is allowed, what to do."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dsl.errors import RuleError
from dsl.schema import Frozen
from service.store.errors import (
    IdempotencyConflict,
    NotFound,
    QueryError,
    SchemaError,
    StateConflict,
    StorageFull,
    Unavailable,
)
from service.web.pointers import described, schema_of

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
MAX_DETAIL = 800

log = logging.getLogger(__name__)


class FieldError(Frozen):
    """One fault of a request."""

    pointer: str | None = None
    """Where in the body, an RFC 6901 pointer as URI fragment: `#/space/lr/low`."""

    parameter: str | None = None
    """Which query parameter, path parameter or header, if it is not in the body."""

    detail: str
    line: int | None = None
    column: int | None = None
    hint: str | None = None


class ProblemBody(Frozen):
    """The body of every answer from 400 on (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):  # noqa: N818 - the RFC's own noun
    """An error that the person who asked can do something about."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)


def _short(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 3] + "..."


def problem_response(
    status: int,
    detail: str,
    instance: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """Return the answer for one problem; at most 20 field errors are listed."""
    body = ProblemBody(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_short(detail),
        instance=_short(instance),
        errors=tuple(
            error.model_copy(update={"detail": _short(error.detail)})
            for error in errors[:MAX_ERRORS]
        ),
    )
    # ASCII output: a lone surrogate from the request must not break the answer about it.
    content = json.dumps(body.model_dump(exclude_none=True), ensure_ascii=True)
    return Response(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _answer(request: Request, problem: Problem) -> Response:
    return problem_response(problem.status, problem.detail, request.url.path, problem.errors)


def _apart(faults: Sequence[Any]) -> list[Any]:
    """Leave out that a list is too short where entries of it have faults: they were not counted."""
    places = [tuple(fault["loc"]) for fault in faults]
    return [
        fault
        for fault, at in zip(faults, places, strict=True)
        if fault["type"] != "too_short"
        or not any(len(other) > len(at) and other[: len(at)] == at for other in places)
    ]


def _not_json(content_type: str) -> Problem:
    told = f"the header Content-Type is '{content_type[:100]}'"
    if not content_type:
        told = "the body has no header Content-Type"
    return Problem(415, f"{told}; send JSON with 'Content-Type: application/json'")


def _invalid(request: Request, error: Exception) -> Response:
    """Answer a request that does not fit its schema."""
    assert isinstance(error, RequestValidationError)
    faults = _apart(error.errors())
    about_body = any(fault["loc"][0] == "body" for fault in faults)
    if about_body and isinstance(error.body, bytes):  # FastAPI parses what is said to be JSON
        return _answer(request, _not_json(request.headers.get("content-type", "")))
    if any(fault["type"] == "json_invalid" for fault in faults):
        fault = faults[0]
        detail = f"the body is not JSON: {fault['ctx']['error']} at character {fault['loc'][-1]}"
        return _answer(request, Problem(400, detail, [FieldError(pointer="#", detail=detail)]))
    field = getattr(getattr(request.scope.get("route"), "body_field", None), "field_info", None)
    schema = {} if field is None else schema_of(field.annotation, field.discriminator)
    errors = []
    for fault in faults[:MAX_ERRORS]:
        pointer, detail = described(fault, error.body, schema)
        if fault["loc"][0] == "body":
            errors.append(FieldError(pointer=pointer, detail=detail))
        else:
            errors.append(FieldError(parameter=str(fault["loc"][-1])[:100], detail=detail))
    first = errors[0]
    detail = f"{first.pointer or first.parameter}: {first.detail}"
    if len(faults) > 1:
        detail += f" (and {len(faults) - 1} more)"
    return _answer(request, Problem(422, detail, errors))


def _unreadable(cause: BaseException) -> str:
    """Return why a body could not be parsed, where its JSON is not at fault but its size or bytes.

    FastAPI answers these with a sentence of its own and keeps what happened as the cause.
    """
    if isinstance(cause, RecursionError):
        return "the body is nested too deeply; a job needs fewer than 10 levels of [ and {"
    if isinstance(cause, UnicodeDecodeError):
        byte = cause.object[cause.start]
        return f"the body is not UTF-8: byte {cause.start} is 0x{byte:02x}; send the text as UTF-8"
    if isinstance(cause, ValueError):
        digits = sys.get_int_max_str_digits()
        return f"the body holds an integer of more than {digits} digits; write a smaller number"
    return "the body cannot be read as JSON; send a job as an object, see /openapi.json"


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        detail = _unreadable(error.__cause__)
        return _answer(request, Problem(400, detail, [FieldError(pointer="#", detail=detail)]))
    details = {
        404: f"there is nothing at {request.url.path}; see /openapi.json",
        405: f"{request.method} is not allowed at {request.url.path}; see /openapi.json",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = None if error.headers is None else dict(error.headers)
    return problem_response(error.status_code, detail, request.url.path, headers=headers)


def rule_problem(error: RuleError, pointer: str) -> Problem:
    """Return what is wrong with a rule, its text being at `pointer` of the body."""
    fault = FieldError(
        pointer=pointer,
        detail=str(error),
        line=error.line,
        column=error.column,
        hint=str(error.hint) if error.hint else None,
    )
    return Problem(422, f"{pointer}: {error}", [fault])


def _rule(request: Request, error: Exception) -> Response:
    assert isinstance(error, RuleError)
    return _answer(request, rule_problem(error, "#/text"))


def _query(request: Request, error: Exception) -> Response:
    assert isinstance(error, QueryError)
    fault = FieldError(parameter=error.parameter, detail=error.detail)
    return _answer(request, Problem(422, str(error), [fault]))


def _unexpected(request: Request, error: Exception) -> Response:
    reference = uuid4().hex[:12]
    log.error("error %s at %s %s", reference, request.method, request.url.path, exc_info=error)
    return problem_response(
        500,
        f"this is a fault of the service, not yours; its log holds it as error {reference}",
        request.url.path,
    )


def _plain(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return _answer(request, Problem(status, str(error)))

    return answer


def install(app: FastAPI) -> None:
    """Make `app` answer every error as problem+json."""
    handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
        RequestValidationError: _invalid,
        HTTPException: _http,
        RuleError: _rule,
        QueryError: _query,
        NotFound: _plain(404),
        StateConflict: _plain(409),
        IdempotencyConflict: _plain(422),
        SchemaError: _plain(503),
        Unavailable: _plain(503),
        StorageFull: _plain(507),
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)

    def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return _answer(request, error)

    app.add_exception_handler(Problem, problem)


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": whose,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }
    for status, whose in (("4XX", "The request's fault."), ("5XX", "The service's fault."))
}
"""What every route may answer, for OpenAPI."""


def documented(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document in which errors are what this module makes of them."""
    schema = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = openapi["components"]["schemas"]
    schemas.update(schema.pop("$defs"))
    schemas["ProblemBody"] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in openapi["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    return openapi
