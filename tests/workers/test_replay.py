"""What determines a figure: the name changes with each part, and equal names have equal digits."""

from typing import Any

import pytest
import torch

from dsl.candidate import Candidate, Proposal, ScheduleSpec, Stage
from workers import replay
from workers.evaluation import judge
from workers.protocol import Evaluation, Protocol, SuccessiveHalving, TaskSpec
from workers.replay import identity
from workers.tasks.registry import TASKS

CANDIDATE = Candidate(rule="sign(g)", seed=3)
PROTOCOL = Protocol(steps=6, grid_steps=3, learning_rates=(0.01, 0.1), seeds=2)


def name(task: str = "wine", protocol: dict[str, Any] | None = None, **candidate: Any) -> str:
    found = identity(
        task,
        CANDIDATE.model_copy(update=candidate),
        PROTOCOL.model_copy(update=protocol or {}),
        "cpu",
    )
    assert found is not None
    assert len(found) == 16
    return found


def test_every_part_is_in_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [
        name("diabetes"),
        name(rule="g"),
        name(lr=0.1),
        name(seed=4),
        name(hyperparameters={"beta": 0.8}),
        name(decay="l2", weight_decay=0.1),
        name(schedule=ScheduleSpec(name="cosine")),
        name(protocol={"seeds": 3}),
        name(protocol={"precision": "bfloat16"}),
        name(protocol={"test": True}),
    ]
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    others.append(name())
    monkeypatch.undo()
    assert len({name(), *others}) == 12
    assert name() == name()


def test_the_data_and_the_first_weights_are_in_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    task, before = TASKS["wine"], name()
    examples, module = task.examples, task.module
    monkeypatch.setattr(task, "examples", lambda split: tuple(t + 1 for t in examples(split)))
    replay._version.cache_clear()
    assert name() != before
    monkeypatch.setattr(task, "examples", examples)
    monkeypatch.setattr(task, "module", lambda: (torch.rand(1), module())[1])
    replay._version.cache_clear()
    assert name() != before
    monkeypatch.undo()
    replay._version.cache_clear()
    assert name() == before


def test_under_a_pruner_nothing_is_promised() -> None:
    protocol = PROTOCOL.model_copy(update={"pruner": SuccessiveHalving()})
    assert identity("wine", CANDIDATE, protocol, "cpu") is None


def test_equal_names_have_equal_digits_in_whatever_company() -> None:
    evaluation = Evaluation(task=TaskSpec(name="wine"), protocols={Stage.SEARCH: PROTOCOL})
    rules = ("sign(g)", "adam", "g", "drop(m, 0.3)", "sign(g)")
    proposals = [
        Proposal(number=i, candidate=Candidate(rule=rule, seed=3)) for i, rule in enumerate(rules)
    ]
    together = judge(evaluation, proposals)
    for outcome, proposal in zip(together, proposals, strict=True):
        alone = judge(evaluation, [proposal])[0]
        assert (alone.replay, alone.by_seed) == (outcome.replay, outcome.by_seed)
        assert outcome.platform == f"torch {torch.__version__}, cpu " + (
            torch.backends.cpu.get_cpu_capability()
        )
    assert together[0].replay == together[4].replay == name()
    assert len({outcome.replay for outcome in together}) == 4
