"""What a job can name: optimizers and tasks."""

from functools import cache
from typing import Any

from fastapi import APIRouter

from dsl.candidate import Decay
from dsl.latex import to_latex
from dsl.schema import Frozen, Real
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY, LibraryEntry
from service.candidates import baseline
from service.store.rules import identity
from service.web.problems import PROBLEMS
from workers.tasks.registry import TASKS

router = APIRouter(tags=["catalogue"], responses=PROBLEMS)


class Optimizer(Frozen):
    """A named rule, or an optimizer of another library that no rule can say."""

    name: str
    rule_id: str
    rule: str
    """Rule text; of another library's optimizer where it is imported from."""

    library: str | None = None
    """The library that it comes from, say `pytorch_optimizer`; None for a rule. Its models are
    trained one by one."""

    installed: bool = True
    """Whether that library is there; without it no job can name the optimizer."""

    latex: str
    hyperparameters: dict[str, Real]
    lr: Real
    decay: Decay
    weight_decay: Real
    paper: str
    note: str


class Optimizers(Frozen):
    """Every named optimizer."""

    items: tuple[Optimizer, ...]


class TaskEntry(Frozen):
    """Something to train on."""

    name: str
    description: str
    metrics: tuple[str, ...]
    """What an objective may name."""


class Tasks(Frozen):
    """Every task."""

    items: tuple[TaskEntry, ...]


def _optimizer(name: str, entry: Any) -> Optimizer:
    return Optimizer(
        name=name,
        rule_id=identity(entry.rule)[0],
        rule=entry.rule,
        latex=to_latex(entry.rule),
        hyperparameters=dict(entry.hyperparameters),
        lr=entry.lr,
        decay=entry.decay,
        weight_decay=entry.weight_decay,
        paper=str(entry.paper),
        note=entry.note or "",
    )


def _imported(entry: LibraryEntry) -> Optimizer:
    installed = entry.available()
    decay = baseline(entry.name, 0) if installed else None
    return Optimizer(
        name=entry.name,
        rule_id=identity(entry.path)[0],
        rule=entry.path,
        library=entry.module,
        installed=installed,
        latex="",
        hyperparameters=dict(entry.hyperparameters) if installed else {},
        lr=entry.lr,
        decay="own" if decay is None else decay.decay,
        weight_decay=0.0 if decay is None else decay.weight_decay,
        paper=entry.paper,
        note=entry.note,
    )


@cache
def _optimizers() -> Optimizers:
    rules = tuple(_optimizer(name, entry) for name, entry in CATALOGUE.items())
    return Optimizers(items=(*rules, *map(_imported, LIBRARY.values())))


@router.get("/optimizers", summary="Named optimizers")
def optimizers() -> Optimizers:
    """Return every optimizer that a job can name, with its defaults and paper.

    Most are rules; those with a `library` are not, and cannot be exported.
    """
    return _optimizers()


@router.get("/tasks", summary="Tasks")
def tasks() -> Tasks:
    """Return every task that a job can name, with the metrics an objective may name."""
    return Tasks(
        items=tuple(
            TaskEntry(name=name, description=task.description, metrics=tuple(task.metrics))
            for name, task in TASKS.items()
        )
    )
