"""What a job can name: optimizers and tasks."""

from functools import cache
from typing import Any

from fastapi import APIRouter

from dsl.candidate import Decay
from dsl.canonical import rule_id
from dsl.latex import to_latex
from dsl.schema import Frozen, Real
from optimizers.catalogue import CATALOGUE
from service.web.problems import PROBLEMS
from workers.tasks.registry import TASKS

router = APIRouter(tags=["catalogue"], responses=PROBLEMS)


class Optimizer(Frozen):
    """A named rule."""

    name: str
    rule_id: str
    rule: str
    latex: str
    hyperparameters: dict[str, Real]
    lr: Real
    decay: Decay
    weight_decay: Real
    paper: str
    note: str


class Optimizers(Frozen):
    """Every named rule."""

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
        rule_id=rule_id(entry.rule),
        rule=entry.rule,
        latex=to_latex(entry.rule),
        hyperparameters=dict(entry.hyperparameters),
        lr=entry.lr,
        decay=entry.decay,
        weight_decay=entry.weight_decay,
        paper=str(entry.paper),
        note=entry.note or "",
    )


@cache
def _optimizers() -> Optimizers:
    return Optimizers(items=tuple(_optimizer(name, entry) for name, entry in CATALOGUE.items()))


@router.get("/optimizers", summary="Named optimizers")
def optimizers() -> Optimizers:
    """Return every optimizer that a tune job can name, as a rule with its defaults and paper."""
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
