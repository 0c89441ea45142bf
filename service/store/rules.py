"""Rules: every text that was ever tried, by its canonical form, and where it stands."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, Select, and_, delete, func, select, tuple_

from dsl.candidate import Candidate, Decay, Proposal, Stage
from dsl.canonical import canonical_text, rule_id
from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.latex import to_latex
from dsl.outcome import Outcome, TrialState
from dsl.text import parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY, LibraryEntry
from service.resources import Evidence, Page, RuleEntry, Standing
from service.store import evidence
from service.store.database import Transaction, upsert
from service.store.errors import NotFound
from service.store.paging import fetch
from service.store.query import Field, Listing, Query
from service.store.tables import jobs, rules, standings, trials

_NAME = func.coalesce(func.nullif(standings.c.label, ""), rules.c.label)

LISTING = Listing(
    name="rules",
    fields={
        "rule_id": Field(standings.c.rule_id, "text"),
        "rule": Field(rules.c.text, "text"),
        "label": Field(_NAME, "text", nullable=True),
        "task": Field(standings.c.task, "text"),
        "stage": Field(standings.c.stage, "text", choices=tuple(Stage)),
        "job_id": Field(standings.c.job_id, "text"),
        "number": Field(standings.c.number, "whole"),
        "metric": Field(standings.c.metric, "text"),
        "direction": Field(standings.c.direction, "text", choices=("minimize", "maximize")),
        "value": Field(standings.c.value, "real"),
        "score": Field(standings.c.score, "real"),
        "compared": Field(standings.c.compared, "whole"),
        "lr": Field(standings.c.lr, "real", nullable=True),
        "seeds": Field(standings.c.seeds, "whole"),
        "steps": Field(standings.c.steps, "whole"),
        "slots": Field(standings.c.slots, "whole"),
    },
    key=("job_id", "number"),
    order="compared desc, score",
)

_ATTESTED = (standings.c.compared, standings.c.seeds, standings.c.steps)


@lru_cache(maxsize=65_536)
def identity(text: str) -> tuple[str, str]:
    """Return a rule's id and canonical text; a text that is no rule stands for itself."""
    try:
        return rule_id(text), canonical_text(text)
    except RuleError:
        return hashlib.sha256(text.encode()).hexdigest()[:12], text


@cache
def _known() -> dict[str, str]:
    """Names of the catalogue by rule id; of two names for one rule, the one without decay."""
    names: dict[str, str] = {}
    for entry in sorted(CATALOGUE.values(), key=lambda entry: entry.decay != "none"):
        names.setdefault(identity(entry.rule)[0], entry.name)
    return names | {identity(entry.path)[0]: entry.name for entry in LIBRARY.values()}


@cache
def _decayed() -> dict[tuple[str, Decay], str]:
    """Names of the catalogue by rule id and the decay beside the rule."""
    names: dict[tuple[str, Decay], str] = {}
    for entry in CATALOGUE.values():
        names.setdefault((identity(entry.rule)[0], entry.decay), entry.name)
    return names


def label_of(job: Row[Any], proposal: Proposal) -> str | None:
    """Return the name that a trial is shown under: the baseline's, or the tuned optimizer's."""
    return proposal.label or job.spec.get("optimizer")


def _standing_name(candidate: Candidate) -> str:
    """Return the name under which an unnamed candidate stands; "" for the rule by itself.

    Decay is outside the rule, so one rule with and without it are two optimizers: Adam and AdamW.
    """
    id_, decay = identity(candidate.rule)[0], candidate.decay
    if (id_, decay) in _decayed():
        return _decayed()[id_, decay]
    known = _known().get(id_, "")
    if decay == "none":
        return f"{known} without decay" if known else ""
    return f"{known} with {decay} decay".lstrip()


def enter(transaction: Transaction, texts: Iterable[str], origin: str = "job") -> dict[str, str]:
    """Write the rules that are new and return every text's rule id."""
    found = {text: identity(text) for text in texts}
    # In order of ids, so that two writers never wait for each other in a circle.
    rows = [
        {
            "id": id_,
            "text": canonical.replace("\0", " "),
            "label": _known().get(id_),
            "origin": origin,
            "created": transaction.now,
        }
        for id_, canonical in sorted(set(found.values()))
    ]
    if rows:
        connection = transaction.connection
        connection.execute(upsert(connection, rules).on_conflict_do_nothing(), rows)
    return {text: id_ for text, (id_, _) in found.items()}


def enter_catalogue(transaction: Transaction) -> None:
    """Write the catalogue's rules, and by their paths the optimizers of other libraries."""
    texts = [entry.rule for entry in CATALOGUE.values()]
    texts += [entry.path for entry in LIBRARY.values()]
    enter(transaction, texts, origin="catalogue")


def add(transaction: Transaction, text: str, label: str | None, origin: str) -> RuleEntry:
    """Write one rule by hand; one that is known already is returned as it is.

    Raises:
        RuleError: the text is not a rule.
    """
    check(parse(text))
    connection = transaction.connection
    id_ = enter(transaction, [text], origin)[text]
    if label is not None:
        connection.execute(
            rules.update().where(rules.c.id == id_, rules.c.label.is_(None)).values(label=label)
        )
    return get(connection, id_)


def get(connection: Connection, id_: str) -> RuleEntry:
    """Return a rule with everything known of it."""
    row = None
    if "\0" not in id_:
        row = connection.execute(select(rules).where(rules.c.id == id_)).one_or_none()
    if row is None:
        raise NotFound("rule", id_)
    library = _library(row.text)
    hyperparameters, slots, latex = _described(row.text)
    if library is not None and library.available():
        hyperparameters = dict(library.hyperparameters)
    ordered = (
        _select()
        .where(standings.c.rule_id == id_)
        # The search's task before unseen ones: its rate is the one that the rule is exported with.
        .order_by(
            standings.c.compared.desc(), standings.c.stage, standings.c.score, standings.c.task
        )
    )
    return RuleEntry(
        id=row.id,
        text=row.text,
        label=row.label,
        latex=latex,
        origin=row.origin,
        library=None if library is None else library.module,
        created=row.created,
        hyperparameters=hyperparameters,
        slots=slots,
        standings=_standings(connection, connection.execute(ordered).all()),
    )


def _library(text: str) -> LibraryEntry | None:
    return next((entry for entry in LIBRARY.values() if entry.path == text), None)


def _described(text: str) -> tuple[dict[str, float], int, str]:
    try:
        compiled = compile_rule(text)
        return dict(compiled.hyperparameters), len(compiled.slots), to_latex(text)
    except RuleError:
        # What a search proposed and the checks refused is shown as it was proposed.
        return {}, 0, ""


def page(connection: Connection, query: Query, task: str | None) -> Page[Standing]:
    """Return a page of the leaderboard."""
    statement = _select()
    if task is not None:
        statement = statement.where(standings.c.task == task.replace("\0", " "))
    found = fetch(connection, statement, LISTING, query, scope=task or "")
    return Page[Standing](
        items=_standings(connection, found.rows),
        next_page_token=found.next_page_token,
        total=found.total,
    )


def _select() -> Select[Any]:
    shown = [column for column in standings.c if column.name != "label"]
    return (
        select(
            *shown,
            rules.c.text.label("rule"),
            _NAME.label("label"),
            trials.c.proposal,
            trials.c.outcome,
            trials.c.cost_steps,
            trials.c.cost_seconds,
            _failure().label("failed_comparison"),
        )
        .join_from(standings, rules)
        .join(
            trials,
            and_(trials.c.job_id == standings.c.job_id, trials.c.number == standings.c.number),
        )
    )


def _failure() -> ScalarSelect[Any]:
    """Why the same optimizer came to nothing in a comparison on the same task, if it did."""
    other = trials.alias()
    return (
        select(other.c.reason)
        .where(
            standings.c.compared == 0,
            other.c.rule_id == standings.c.rule_id,
            other.c.stage.in_((Stage.COMPARISON, Stage.UNSEEN)),
            other.c.state == TrialState.INFEASIBLE,
            func.coalesce(other.c.label, "") == standings.c.label,
            other.c.task == standings.c.task,
        )
        .order_by(other.c.finished.desc())
        .limit(1)
        .correlate(standings)
        .scalar_subquery()
    )


def _standings(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Standing, ...]:
    """Return the rows of the leaderboard with what their jobs' comparisons say of them."""
    compared = [(row.job_id, row.number) for row in rows if row.compared]
    found = evidence.of(connection, compared) if compared else {}
    return tuple(_standing(row, found.get((row.job_id, row.number))) for row in rows)


def _standing(row: Row[Any], found: Evidence | None) -> Standing:
    names = Standing.model_fields
    candidate = Candidate.model_validate(row.proposal["candidate"])
    return Standing(
        **{name: value for name, value in row._mapping.items() if name in names},
        decay=candidate.decay,
        weight_decay=candidate.weight_decay,
        schedule=candidate.schedule.name,
        batch_size=row.outcome.get("batch_size", 64),
        precision=row.outcome.get("precision", "float32"),
        replay=row.outcome.get("replay"),
        evidence=found,
    )


def attest(
    connection: Connection, job: Row[Any], complete: Sequence[tuple[Proposal, Outcome]]
) -> None:
    """Raise the standings of rules whose new evaluation is better attested than the one shown.

    A comparison, on whichever task, counts more than a search, then more seeds, then more steps; of
    equally attested evaluations the better value counts. Long runs, of few, stand beside nothing.
    """
    best: dict[tuple[str, str, str], tuple[tuple[Any, ...], dict[str, Any]]] = {}
    for proposal, outcome in complete:
        if proposal.stage is Stage.LONG:
            continue
        value = outcome.metrics[job.metric]
        score = value if job.direction == "minimize" else -value
        compared = int(proposal.stage is not Stage.SEARCH)
        row = {
            "rule_id": identity(proposal.candidate.rule)[0],
            "label": label_of(job, proposal) or _standing_name(proposal.candidate),
            "task": proposal.task or job.task,
            "job_id": job.id,
            "number": outcome.number,
            "stage": proposal.stage,
            "metric": job.metric,
            "direction": job.direction,
            "value": value,
            "compared": compared,
            "seeds": outcome.seeds,
            "steps": outcome.step,
            "score": score,
            "lr": outcome.lr,
            "slots": outcome.slots,
            "metrics": outcome.metrics,
            "spread": outcome.spread,
        }
        rank = (compared, outcome.seeds, outcome.step, -score)
        key = (row["rule_id"], row["label"], row["task"])
        if key not in best or best[key][0] < rank:
            best[key] = (rank, row)
    if not best:
        return
    entry = upsert(connection, standings)
    new = entry.excluded
    keys = [column.name for column in standings.primary_key]
    connection.execute(
        entry.on_conflict_do_update(
            index_elements=keys,
            set_={c.name: new[c.name] for c in standings.c if c.name not in keys},
            where=tuple_(*(new[c.name] for c in _ATTESTED), -new.score)
            > tuple_(*_ATTESTED, -standings.c.score),
        ),
        [row for _, (_, row) in sorted(best.items())],
    )


def restand(connection: Connection, ids: Sequence[str]) -> None:
    """Find the standings of rules anew, after what attested them was deleted."""
    if not ids:
        return
    connection.execute(delete(standings).where(standings.c.rule_id.in_(ids)))
    held = (trials.c.rule_id.in_(ids), trials.c.state == TrialState.COMPLETE)
    owners = select(trials.c.job_id).where(*held)
    for job in connection.execute(select(jobs).where(jobs.c.id.in_(owners))).all():
        rows = connection.execute(
            select(trials.c.proposal, trials.c.outcome).where(trials.c.job_id == job.id, *held)
        )
        complete = [
            (Proposal.model_validate(proposal), Outcome.model_validate(outcome))
            for proposal, outcome in rows
        ]
        attest(connection, job, complete)
