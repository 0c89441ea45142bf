"""What `train_population` refuses, in words, before a step is taken."""

from dataclasses import dataclass
from typing import Any

import pytest
from torch import nn

from dsl.candidate import Candidate
from dsl.outcome import TrialState
from workers.population import train_population
from workers.protocol import Protocol, SuccessiveHalving
from workers.tasks.registry import TASKS
from workers.tasks.task import Task
from workers.tasks.wine import Wine

TASK = TASKS["wine"]
PRUNED = Protocol(steps=10, metric="validation_error", pruner=SuccessiveHalving(min_steps=2))


class Frozen(Wine):
    def module(self) -> nn.Module:
        return super().module().requires_grad_(False)


@dataclass
class Sized(Wine):
    size: int = 4


def refused(
    candidate: Candidate | None = None,
    task: Task = TASK,
    protocol: Protocol = Protocol(steps=2),  # noqa: B008 - it is frozen
    **options: Any,
) -> str:
    candidates = [Candidate(rule="g", lr=0.1), candidate or Candidate(rule="m", lr=0.1)]
    with pytest.raises(ValueError, match=r"\w") as refusal:
        train_population(task, candidates, protocol, **options)
    return str(refusal.value)


@pytest.mark.parametrize("task", [TASK, TASKS["char-lm"]])
def test_a_weight_decay_that_no_rule_has(task: Task) -> None:
    own = Candidate(rule="g", lr=0.1, decay="own", weight_decay=0.1)
    assert "candidate 1: decay is 'own', which only optimizers of other" in refused(own, task)
    negative = Candidate(rule="g", lr=0.1, decay="l2", weight_decay=-0.1)
    assert "candidate 1: weight_decay is -0.1, but it must be 0 or more" in refused(negative, task)


def test_a_strength_that_decay_none_does_not_use_is_allowed() -> None:
    candidates = [Candidate(rule="g", lr=0.1, weight_decay=value) for value in (0.0, 0.1)]
    without, unused = train_population(TASK, candidates, Protocol(steps=2))
    assert without.metrics == unused.metrics
    assert unused.state is TrialState.COMPLETE


def test_numbers_that_do_not_fit() -> None:
    assert refused(points=0) == "points is 0, but a curve has at least 1, its end"
    assert "points is -3" in refused(points=-3)
    for families in ([], [0], [0, 1, 2]):
        told = f"families has {len(families)} numbers for 2 candidates; give one for each"
        assert refused(families=families) == told


def test_a_pruner_by_what_is_not_measured() -> None:
    assert refused(protocol=PRUNED) == (
        "the pruner's metric 'validation_error' is not measured on the task 'wine'; measured are: "
        "train_loss, validation_loss, validation_accuracy"
    )
    [after] = train_population(TASKS["wine"], [Candidate(rule="g", lr=0.1)], Protocol(steps=2))
    assert after.obstacle is None, "a wrong metric says nothing of how a module is trained"


def test_devices_that_are_not_there() -> None:
    assert refused(device="cuda:99").startswith("device 'cuda:99' cannot be used, try 'cpu': ")
    assert refused(device="abacus").startswith("device 'abacus' cannot be used, try 'cpu': ")


def test_tasks_that_cannot_be_trained_or_told_apart() -> None:
    assert "'wine' has no parameter that requires a gradient" in refused(task=Frozen())
    assert "its class Sized defines __eq__" in refused(task=Sized())
