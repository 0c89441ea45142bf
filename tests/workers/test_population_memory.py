"""What does not fit into memory is trained in smaller stacks, to the same results."""

import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.outcome import TrialState
from workers.population import RowResult, train_population
from workers.protocol import Protocol, SuccessiveHalving
from workers.stacking import StackedModule
from workers.tasks.landscape import Landscape, Point
from workers.tasks.task import Examples, Stacked
from workers.tasks.wine import Wine

PRUNED = Protocol(steps=24, pruner=SuccessiveHalving(reduction=2, min_steps=6))
CANDIDATES = [
    Candidate(rule=rule, lr=lr, seed=seed)
    for rule in ("g", "adam")
    for lr in (0.01, 0.03, 0.1)
    for seed in (0, 1)
] + [Candidate(rule="g", lr=1e30), Candidate(rule="pytorch_optimizer.Muon", lr=0.01)]


class Greedy(Wine):
    """Asks for more memory than there is when more than `most` rows take or measure a step."""

    name = "greedy"

    def __init__(self, most: int, after: int = 0, *, measuring: bool = False) -> None:
        self.most, self.after, self.measuring = most, after, measuring
        self.sizes: list[int] = []
        self.refused = 0

    def stacked(self) -> Stacked:
        return _Greedy(self)


class _Greedy(StackedModule):
    def __init__(self, task: Greedy) -> None:
        super().__init__(task)
        self._greedy = task

    def _grasp(self, weights: Mapping[str, Tensor]) -> None:
        rows = len(next(iter(weights.values())))
        self._greedy.sizes.append(rows)
        if rows > self._greedy.most and len(self._greedy.sizes) > self._greedy.after:
            self._greedy.refused += 1
            torch.empty(1 << 60)

    def step(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], batch: Examples,
        **more: Any,
    ) -> Tensor:  # fmt: skip
        losses = super().step(weights, buffers, batch, **more)
        if not self._greedy.measuring:
            self._grasp(weights)
        return losses

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        if self._greedy.measuring:
            self._grasp(weights)
        return super().measure(weights, buffers, examples)


def train(task: Greedy, protocol: Protocol) -> list[RowResult]:
    return train_population(task, CANDIDATES, protocol, keep_weights=True)


def assert_same(found: Sequence[RowResult], expected: Sequence[RowResult]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.state, one.step, one.reason) == (other.state, other.step, other.reason)
        assert (one.metrics, one.curve, one.slots) == (other.metrics, other.curve, other.slots)
        assert (one.weights is None) == (other.weights is None)
        for name, value in (one.weights or {}).items():
            assert torch.equal(value, other.weights[name])


@pytest.mark.parametrize(
    ("protocol", "most", "measuring"),
    [(Protocol(steps=24), 5, False), (PRUNED, 5, True), (PRUNED, 1, False)],
)
def test_stacks_are_halved_until_they_fit_with_the_same_results(
    protocol: Protocol, most: int, measuring: bool
) -> None:
    task = Greedy(most, after=3 if measuring else 10, measuring=measuring)
    found = train(task, protocol)
    assert task.refused
    assert task.sizes[-1] <= most
    assert_same(found, train(Greedy(100), protocol))
    states = {result.state for result in found}
    assert {TrialState.COMPLETE, TrialState.INFEASIBLE} <= states
    assert (TrialState.PRUNED in states) == (protocol is PRUNED)


def test_a_row_that_does_not_fit_by_itself_is_a_clear_error() -> None:
    with pytest.raises(MemoryError) as caught:
        train(Greedy(0), PRUNED)
    for words in ("'greedy'", "memory of cpu", "bytes are free", "tried to allocate", "batch_size"):
        assert words in str(caught.value)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(Greedy):
        def examples(self, split: Any) -> Examples:
            inputs, targets = super().examples(split)
            return inputs[:, 1:], targets

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(Broken(100), PRUNED)


SIZE, ROWS, SPARE = 500_000, 16, 60 * 2**20
"""Weights of a row, rows, and bytes beyond what the process has when it begins to train: the rows'
weights, gradients and states alone are 96 MB, so that they cannot even wait beside each other."""


class Large(Landscape):
    """4 MB of weights that a step only shrinks."""

    name = "large"

    def module(self) -> Point:
        return Point(torch.rand(SIZE))

    def value(self, point: Tensor) -> Tensor:
        return point.square().mean()

    def minimum(self) -> Tensor:
        return torch.zeros(SIZE)


def under_a_limit() -> None:
    """Train with and without room, in a process of its own, and compare."""
    torch.set_num_threads(1)
    candidates = [Candidate(rule="m", lr=0.1 / (1 + row), seed=row % 2) for row in range(ROWS)]
    protocols, free = (PRUNED, Protocol(steps=6)), resource.RLIM_INFINITY
    train_population(Large(), candidates[:1], protocols[0], points=3)  # torch sets itself up
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, free))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.empty(2 * SPARE // 4)
    # before there is room, since malloc keeps what it was once given
    found = [train_population(Large(), candidates, each, points=3) for each in protocols]
    resource.setrlimit(resource.RLIMIT_AS, (free, free))
    for protocol, results in zip(protocols, found, strict=True):
        assert_same(results, train_population(Large(), candidates, protocol, points=3))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound a process's memory")
def test_a_population_larger_than_the_process_may_hold_is_trained() -> None:
    code = f"from {__name__} import under_a_limit; under_a_limit()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
