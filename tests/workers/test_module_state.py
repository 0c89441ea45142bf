import random
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from workers.module_state import State
from workers.tasks.registry import TASKS


def counter() -> Callable[[], int]:
    count = 0

    def one_more() -> int:
        nonlocal count
        count += 1
        return count

    return one_more


class Slotted:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def move(kept: Any) -> None:
    kept.count += 1


def numbers() -> Iterator[int]:
    yield from range(9)


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "list": (list, lambda kept: kept.append(1)),
    "dict": (lambda: {"n": [0]}, lambda kept: kept["n"].append(1)),
    "set": (set, lambda kept: kept.add(1)),
    "deque": (lambda: deque([1, 2]), lambda kept: kept.rotate()),
    "object": (lambda: SimpleNamespace(count=0), move),
    "slots": (Slotted, move),
    "closure": (counter, lambda kept: kept()),
    "array": (lambda: np.zeros(2), lambda kept: kept.fill(1)),
    "tensor": (lambda: torch.zeros(2), lambda kept: kept.add_(1)),
    "listed tensor": (lambda: [torch.zeros(2)], lambda kept: kept[0].add_(1)),
    "hidden module": (lambda: [nn.BatchNorm1d(2)], lambda kept: kept[0](torch.randn(4, 2))),
    "random": (lambda: random.Random(1), lambda kept: kept.random()),
    "generator": (lambda: np.random.default_rng(1), lambda kept: kept.random()),
    "torch generator": (torch.Generator, lambda kept: torch.rand(1, generator=kept)),
    "iterator": (lambda: iter([1, 2, 3]), next),
}


@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_whatever_changes_is_seen_and_nothing_else(kind: str) -> None:
    make, change = CHANGES[kind]
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].kept = make()
    before = State(module)
    assert before.changed(State(module)) == []
    change(module[0].kept)
    assert before.changed(State(module)) == ["0.kept"]


def test_what_cannot_be_looked_into_counts_by_identity() -> None:
    module = nn.Linear(2, 2)
    module.numbers = numbers()
    before = State(module)
    assert before.changed(State(module)) == []
    module.numbers = numbers()
    assert before.changed(State(module)) == ["numbers"]


def test_attributes_that_come_and_go_have_changed() -> None:
    module = nn.Linear(2, 2)
    module.gone = nan = float("nan")
    module.nan, module.itself = nan, []
    module.itself.append(module.itself)
    before = State(module)
    assert before.changed(State(module)) == []
    del module.gone
    module.come = None
    assert sorted(before.changed(State(module))) == ["come", "gone"]


LAYERS = {
    "lstm": (lambda: nn.LSTM(4, 3), torch.randn(5, 2, 4)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8), torch.randn(5, 2, 4)),
    "spectral": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
        torch.randn(5, 4),
    ),
    "batch-norm": (lambda: nn.BatchNorm1d(4), torch.randn(5, 4)),
}


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_layers_of_torch_keep_nothing_else(kind: str) -> None:
    make, inputs = LAYERS[kind]
    module = make()
    before = State(module)
    found = module(inputs)
    (found[0] if isinstance(found, tuple) else found).sum().backward()
    assert before.changed(State(module)) == []


def test_nor_do_the_tasks_modules() -> None:
    for task in TASKS.values():
        module, batch = task.initial(0), tuple(value[:4] for value in task.examples("train"))
        before = State(module)
        for _ in range(2):
            task.loss(module, batch).backward()
        assert before.changed(State(module)) == [], task.name
