"""Rules on modules that cannot be stacked: the rows that their stackable twins have, one by one."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dsl.candidate import Candidate, Proposal, ScheduleSpec, Stage
from dsl.outcome import TrialState
from workers.evaluation import judge
from workers.population import RowResult, train_population
from workers.protocol import Evaluation, Protocol, SuccessiveHalving, TaskSpec
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples, Model, Split, Task


class Squared(torch.autograd.Function):
    """Without a rule for `vmap`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


def branch(x: Tensor) -> Tensor:
    return 2 * x if x.sum() > 0 else x.tanh()


def selected(x: Tensor) -> Tensor:
    return torch.where(x.sum() > 0, 2 * x, x.tanh())


def added(x: Tensor) -> Tensor:
    total = torch.zeros(x.shape, dtype=x.dtype)
    total += x
    return total


Function = Callable[[Tensor], Tensor]
TWINS: dict[str, tuple[Function, Function, str]] = {
    "branch": (branch, selected, "data-dependent control flow"),
    "item": (lambda x: x / (1 + x.abs().max().item()), lambda x: x / (1 + x.abs().max().detach()),
             "item"),
    "in-place": (added, lambda x: x, "broadcast shape"),
    "own-function": (Squared.apply, lambda x: x * x, "setup_context"),
    "numpy": (lambda x: x * torch.from_numpy(x.detach().sign().numpy()), torch.abs, "data pointer"),
}  # fmt: skip


class Along(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 1)
        self.unused = nn.Parameter(torch.ones(3))
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.outer(self.function(self.inner(inputs))).squeeze(1)
        return output


class Sums(Task):
    """Random vectors and their sums, learnt by any module."""

    name = "sums"
    description = "for tests"

    def __init__(self, module: Callable[[], nn.Module]) -> None:
        self._module = module

    def module(self) -> nn.Module:
        return self._module()

    def examples(self, split: Split) -> Examples:
        generator = torch.Generator().manual_seed(len(split))
        inputs = torch.randn(50, 6, generator=generator)
        return inputs, inputs.sum(1).sin()

    def loss(self, model: Model, batch: Examples) -> Tensor:
        return (model(batch[0]) - batch[1]).square().mean()


class Entangled(Sums):
    """Its loss looks into the module."""

    def loss(self, model: Model, batch: Examples) -> Tensor:
        penalty: Tensor = model.inner.weight.square().sum()  # type: ignore[attr-defined]
        return super().loss(model, batch) + 1e-3 * penalty


COSINE = ScheduleSpec(name="cosine")
CANDIDATES = [
    Candidate(rule="g", lr=0.05, seed=2),
    Candidate(rule="trace(g, mu)", lr=0.02, hyperparameters={"mu": 0.8}, decay="l2",
              weight_decay=0.1, schedule=COSINE),
    Candidate(rule="adam", lr=0.01, hyperparameters={"beta2": 0.9}, decay="decoupled",
              weight_decay=0.1, seed=1, schedule=COSINE),
    Candidate(rule="adam", lr=0.02, decay="paper", weight_decay=1e-3,
              schedule=ScheduleSpec(name="linear")),
    Candidate(rule="drop(m, 0.3) + noise(annealed_noise) * norm(g)", lr=0.01, seed=5),
    Candidate(rule="eta = 0.5\ndecay = 0.7\nclip(eta * ema(g, decay), 1) * (1 + ld)", lr=0.02,
              hyperparameters={"decay": 0.8}, schedule=COSINE, weight_decay=3.0),
    Candidate(rule="debias(ema(g, demon(beta)))", lr=0.02, hyperparameters={"beta": 0.8}),
]  # fmt: skip
WILD = [Candidate(rule="-g", lr=10.0), Candidate(rule="log(g)", lr=0.1, seed=1)]


def train(task: Task, candidates: list[Candidate], steps: int = 30, **more: Any) -> list[RowResult]:
    options = {"dtype": torch.float64, "points": 5, "keep_weights": True}
    return train_population(task, candidates, Protocol(steps=steps, **more), **options)


def twins(kind: str) -> tuple[Task, Task, str]:
    one, other, reason = TWINS[kind]
    return Sums(lambda: Along(one)), Sums(lambda: Along(other)), reason


def equal(one: RowResult, other: RowResult) -> None:
    assert (one.state, one.step, one.reason) == (other.state, other.step, other.reason)
    assert one.slots == other.slots
    assert [point.step for point in one.curve] == [point.step for point in other.curve]
    for mine, theirs in zip(one.curve, other.curve, strict=True):
        assert mine.metrics == pytest.approx(theirs.metrics, rel=1e-9)
    if one.weights is not None and other.weights is not None:
        for name, value in one.weights.items():
            torch.testing.assert_close(value, other.weights[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", sorted(TWINS))
def test_a_row_is_its_stackable_twins(kind: str) -> None:
    alone, stackable, reason = twins(kind)
    found = train(alone, CANDIDATES + WILD, test=True)
    expected = train(stackable, CANDIDATES + WILD, test=True)
    for one, other in zip(found, expected, strict=True):
        assert (one.one_by_one, other.one_by_one) == (True, False)
        assert reason in (one.obstacle or "")
        equal(one, other)
    assert {each.state for each in found[: len(CANDIDATES)]} == {TrialState.COMPLETE}
    assert {each.state for each in found[len(CANDIDATES) :]} == {TrialState.INFEASIBLE}


def test_pruning_is_the_same_one_by_one() -> None:
    alone, stackable, _ = twins("branch")
    rates = [
        Candidate(rule="g", lr=rate, seed=seed) for rate in (1e-4, 1e-3, 0.1) for seed in (0, 1)
    ]
    pruner = SuccessiveHalving(reduction=3, min_steps=5)
    results = [
        train_population(
            task, rates, Protocol(steps=12, pruner=pruner), dtype=torch.float64,
            families=[0, 0, 1, 1, 2, 2],
        )
        for task in (alone, stackable)
    ]  # fmt: skip
    assert [each.step for each in results[0]] == [5, 5, 5, 5, 12, 12]
    for one, other in zip(*results, strict=True):
        equal(one, other)


def test_what_vmap_would_get_wrong_is_trained_one_by_one() -> None:
    class Keeps(Along):
        """Keeps a mean of its own outside of any buffer, which rows must not share."""

        def __init__(self) -> None:
            super().__init__(torch.tanh)
            self.mean = torch.zeros((), dtype=torch.float64)

        def forward(self, inputs: Tensor) -> Tensor:
            output = super().forward(inputs)
            self.mean = 0.5 * self.mean + 0.5 * output.detach().mean()
            return output - self.mean

    results = train(Sums(Keeps), CANDIDATES[:2])
    assert ["'mean'" in (each.obstacle or "") for each in results] == [True, True]
    equal(results[1], train(Sums(Keeps), CANDIDATES[1:2])[0])


def test_what_a_list_counts_is_each_rows_own() -> None:
    class Counts(Along):
        def __init__(self) -> None:
            super().__init__(torch.tanh)
            self.seen: list[int] = []

        def forward(self, inputs: Tensor) -> Tensor:
            if self.training:
                self.seen.append(len(inputs))
            output: Tensor = super().forward(inputs) / (1 + 0.1 * len(self.seen))
            return output

    results = train(Sums(Counts), CANDIDATES[:3])
    for candidate, result in zip(CANDIDATES, results, strict=False):
        assert "'seen'" in (result.obstacle or "")
        assert train(Sums(Counts), [candidate])[0].curve == result.curve


def test_a_loss_may_look_into_the_module() -> None:
    results = train(Entangled(lambda: Along(torch.tanh)), CANDIDATES[:3])
    assert all("reads the model's attributes" in (each.obstacle or "") for each in results)
    assert results[0].curve[-1].metrics["train_loss"] < results[0].curve[0].metrics["train_loss"]


OWN_WAYS = {
    "rrelu": lambda: nn.Sequential(nn.Linear(6, 1), nn.RReLU(), nn.Flatten(0)),
    "NumPy": lambda: Along(lambda x: x * np.random.random()),
    "generator": lambda: Along(lambda x: x * random.random()),
    "randperm": lambda: Along(lambda x: x[torch.randperm(len(x))]),
}


@pytest.mark.parametrize("kind", sorted(OWN_WAYS))
def test_a_module_that_draws_its_own_way_depends_on_its_seed_alone(kind: str) -> None:
    task = Sums(OWN_WAYS[kind])
    torch.manual_seed(1)
    among = train(task, CANDIDATES)
    torch.manual_seed(2)
    alone = [train(task, [each])[0] for each in CANDIDATES]
    for one, other in zip(among, alone, strict=True):
        assert kind in (one.obstacle or "")
        assert one.curve == other.curve
    assert among[0].metrics != among[1].metrics


class Sized(Along):
    """Looks at its outputs' values where there are many of them."""

    def __init__(self, most: int) -> None:
        super().__init__(torch.tanh)
        self.most = most

    def forward(self, inputs: Tensor) -> Tensor:
        output = super().forward(inputs)
        return output.abs() if len(inputs) > self.most and output.mean() > 0 else output


@pytest.mark.parametrize(("most", "stacked"), [(20, False), (55, True)])
def test_whether_a_module_stacks_is_asked_for_every_batch_size(most: int, stacked: bool) -> None:
    task = Sums(lambda: Sized(most))  # there are 50 examples to be measured
    for batch_size, expected in ((4, stacked), (60, False)):
        among = train(task, CANDIDATES[:3], batch_size=batch_size)
        assert [each.one_by_one for each in among] == [not expected] * 3
        alone = train(task, CANDIDATES[2:3], batch_size=batch_size)[0]
        assert alone.curve == among[2].curve


class Longer(Sums):
    """Its test split has more examples than the others."""

    def examples(self, split: Split) -> Examples:
        inputs, targets = super().examples(split)
        return (inputs.repeat(2, 1), targets.repeat(2)) if split == "test" else (inputs, targets)


def test_what_cannot_be_stacked_after_all_begins_again_one_by_one() -> None:
    task, pruner = Longer(lambda: Sized(70)), SuccessiveHalving(reduction=2, min_steps=5)
    rates = [Candidate(rule="g", lr=rate) for rate in (1e-5, 0.01, 0.02, 1e9)]
    results = train(task, rates, 12, test=True, pruner=pruner)
    # the one that diverged and those that were pruned had ended before the test split was read
    assert [each.step for each in results] == [5, 10, 12, 1]
    assert [each.one_by_one for each in results] == [False, False, True, False]
    assert "control flow" in (results[2].obstacle or "")
    again = train(task, rates[2:3], 12, test=True, pruner=pruner)[0]
    assert (again.curve, again.obstacle) == (results[2].curve, results[2].obstacle)
    assert again.metrics == results[2].metrics
    assert "test_loss" in again.metrics


def test_a_fault_of_the_task_is_told_as_it_is() -> None:
    task = Sums(lambda: nn.Sequential(nn.Linear(7, 8), nn.Linear(8, 1)))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(64x6"):
        train(task, CANDIDATES[:1])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("branch", "it reads a tensor's value, by .item() or to branch on it (torch: vmap: It"),
        ("in-place", "it writes rows' own numbers into a tensor that they share (torch: output"),
        ("numpy", "it hands a tensor's numbers to another library, NumPy say (torch: Cannot"),
    ],
)
def test_an_obstacle_is_told_in_words_that_end_whole(kind: str, words: str) -> None:
    told = train(twins(kind)[0], CANDIDATES[:1], 1)[0].obstacle or ""
    assert told.startswith(f"torch.func cannot stack its module: {words}")
    assert len(told) < 400
    assert told.endswith((" …)", "[2, 64, 8])", "storage)"))


def test_a_task_is_tried_once() -> None:
    calls = []

    class Counted(Sums):
        def loss(self, model: Model, batch: Examples) -> Tensor:
            calls.append(model)
            return super().loss(model, batch)

    task = Counted(lambda: Along(branch))
    counts = []
    for _ in range(2):
        calls.clear()
        train(task, CANDIDATES[:1], 5)
        counts.append(len(calls))
    assert counts[1] == 10  # five steps and five measurements
    assert counts[0] > counts[1]


def test_frozen_parameters_stay_as_they_are() -> None:
    def module(function: Function) -> nn.Module:
        built = Along(function)
        built.inner.weight.requires_grad_(False)
        return built

    stackable, alone = (Sums(lambda f=f: module(f)) for f in (selected, branch))
    results = train(stackable, CANDIDATES)
    for one, other in zip(results, train(alone, CANDIDATES), strict=True):
        assert (one.one_by_one, other.one_by_one) == (False, True)
        assert "inner.weight" not in (one.weights or {})
        assert "inner.bias" in (one.weights or {})
        equal(one, other)


def test_an_outcome_says_that_it_was_trained_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, stackable, _ = twins("branch")
    protocol = Protocol(steps=20, grid_steps=5, learning_rates=(1e-3, 1e-2), seeds=2)
    evaluation = Evaluation(task=TaskSpec(name="sums"), protocols={Stage.SEARCH: protocol})
    told = []
    for task in (alone, stackable):
        monkeypatch.setitem(TASKS, "sums", task)
        proposals = [Proposal(number=0, candidate=Candidate(rule="adam"))]
        told += judge(evaluation, proposals)
    assert [each.one_by_one for each in told] == [True, False]
    assert ["control flow" in (each.obstacle or "") for each in told] == [True, False]
    assert told[0].state is told[1].state is TrialState.COMPLETE
    assert (told[0].lr, told[0].cost_steps) == (told[1].lr, told[1].cost_steps)
    assert told[0].metrics == pytest.approx(told[1].metrics, rel=1e-3)
