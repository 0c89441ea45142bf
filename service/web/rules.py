"""Rules over REST: the leaderboard, one rule, its export, a rule by hand."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from dsl.export import to_torch
from dsl.latex import to_latex
from dsl.optax_export import to_optax
from dsl.schema import Frozen
from dsl.text import parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY
from service.candidates import baseline, tuned
from service.resources import Page, RuleEntry, Standing
from service.store.errors import NotFound
from service.store.rules import identity
from service.store.store import Store
from service.web.access import Listing, StoreDep, checked_identifier
from service.web.problems import PROBLEMS, FieldError, Problem

router = APIRouter(prefix="/rules", tags=["rules"], responses=PROBLEMS)

Format = Literal["torch", "optax", "latex"]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\w .\-]+$")]


class RuleListing(Listing):
    """The leaderboard's parameters."""

    task: Annotated[str, Field(max_length=64)] | None = None
    """Only standings on this task."""


class NewRule(Frozen):
    """A rule by hand."""

    text: Annotated[str, Field(min_length=1)]
    """See the README's section on the language; at most 4,096 characters."""

    label: Label | None = None


@router.get("", summary="The leaderboard")
def rules(listing: Annotated[RuleListing, Query()], store: StoreDep) -> Page[Standing]:
    """Return each rule's best-attested evaluation on each task, over all jobs."""
    return store.standings(listing.query(), task=listing.task)


@router.post(
    "",
    status_code=201,
    summary="Add a rule by hand",
    responses={200: {"description": "A rule that is known already."}},
)
def add(rule: NewRule, response: Response, store: StoreDep) -> RuleEntry:
    """Check a rule and keep it, in canonical form; one that is known is returned (200).

    A label is given once: another one for a rule that has one is refused (409).
    """
    check(parse(rule.text))
    try:
        store.rule(identity(rule.text)[0])
        response.status_code = 200
    except NotFound:
        pass
    entry = store.add_rule(rule.text, label=rule.label)
    if rule.label is not None and entry.label != rule.label:
        detail = (
            f"this rule is known as '{entry.label}' (id {entry.id}), not '{rule.label}'; send it "
            f"without a label, or with '{entry.label}'"
        )
        raise Problem(409, detail, [FieldError(pointer="#/label", detail=detail)])
    response.headers["Location"] = f"/api/v1/rules/{entry.id}"
    return entry


def resolved_id(name: str) -> str:
    """Return the id of a rule named by id or by its name among the optimizers."""
    if name in CATALOGUE:
        return identity(CATALOGUE[name].rule)[0]
    if name in LIBRARY:
        return identity(LIBRARY[name].path)[0]
    return checked_identifier("rule", name)


@router.get("/{rule_id}", summary="One rule")
def rule(rule_id: str, store: StoreDep) -> RuleEntry:
    """Return a rule, by id or catalogue name, with its standings."""
    return store.rule(resolved_id(rule_id))


def _trained_numbers(store: Store, entry: RuleEntry, standing: Standing) -> dict[str, Any]:
    """Return the numbers a rule was trained with, as `to_torch` takes them."""
    numbers: dict[str, Any] = {"lr": standing.lr}
    try:
        trial = store.trial(standing.job_id, standing.number)
        spec = store.job(standing.job_id).spec
    except NotFound:  # the job was deleted; the rule stays
        return numbers
    if spec.kind == "tune":
        base = tuned(spec)
    elif trial.label in CATALOGUE:
        base = baseline(trial.label, spec.seed)
    else:
        return numbers
    candidate = base.with_values(trial.parameters)
    if candidate.decay != "none":
        numbers |= {"decay": candidate.decay, "weight_decay": candidate.weight_decay}
    own = entry.hyperparameters
    values = candidate.hyperparameters.items()
    return numbers | {"hyperparameters": {k: v for k, v in values if k in own}}


def _provenance(entry: RuleEntry, standing: Standing) -> str:
    spread = standing.spread.get(standing.metric)
    plus_minus = "" if spread is None else f" +- {spread:.4g}"
    return (
        f"Rule {entry.id}: {standing.metric} {standing.value:.4g}{plus_minus} on {standing.task} "
        f"after {standing.steps} steps, {standing.seeds} seed(s), job {standing.job_id} "
        f"trial {standing.number}."
    )


def python_file(store: Store, entry: RuleEntry, write: Callable[..., str] = to_torch) -> str:
    """Return a rule as a Python file with the numbers of its best-attested evaluation.

    `write` is `to_torch` or `to_optax`.
    """
    if not entry.standings:
        return write(entry.text, provenance=f"Rule {entry.id}, not yet trained.")
    standing = entry.standings[0]
    numbers = _trained_numbers(store, entry, standing)
    return write(entry.text, provenance=_provenance(entry, standing), **numbers)


@router.get(
    "/{rule_id}/export",
    summary="Take a rule home",
    response_class=Response,
    responses={200: {"content": {"text/x-python": {}, "application/x-tex": {}}}},
)
def export(
    rule_id: str,
    store: StoreDep,
    format: Annotated[Format, Query()] = "torch",  # noqa: A002 - the contract's name
) -> Response:
    """Return a rule, by id or catalogue name: a Python file (torch, optax) or a formula (latex)."""
    entry = store.rule(resolved_id(rule_id))
    if entry.library is not None:
        imported = entry.text.removeprefix(f"{entry.library}.")
        raise Problem(
            422,
            f"{entry.label} is no rule, so there is nothing to export: it comes from "
            f"{entry.library}; write 'from {entry.library} import {imported}'",
        )
    if format == "latex":
        content, media_type, suffix = to_latex(entry.text) + "\n", "application/x-tex", "tex"
    else:
        write, suffix = (to_optax, "optax.py") if format == "optax" else (to_torch, "py")
        content, media_type = python_file(store, entry, write), "text/x-python"
    disposition = f'attachment; filename="rule_{entry.id}.{suffix}"'
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})
