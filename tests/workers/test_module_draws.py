"""Modules that draw: what a row draws depends on its seed alone, in a stack and by itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dsl.candidate import Candidate
from optimizers.library import LIBRARY, LibraryEntry
from workers.module_draws import ModuleDraws
from workers.population import RowResult, train_population
from workers.protocol import Protocol, SuccessiveHalving
from workers.tasks.task import Examples, Model, Split, Task


class Along(nn.Module):
    """Applies a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 6, num_layers=2, dropout=0.4, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(inputs.unflatten(1, (2, 4)))[0].flatten(1)
        return output


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), Along(function), nn.Linear(8, 1))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Sequential(
        nn.Dropout(0.2), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)
    ),
    "alpha-dropout": lambda: between(lambda x: functional.alpha_dropout(x, 0.3, training=True)),
    "channels": lambda: nn.Sequential(nn.Linear(8, 8), nn.Unflatten(1, (4, 2)), nn.Dropout1d(0.4)),
    "lstm": Recurrent,
    "transformer": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 4)), nn.TransformerEncoderLayer(4, 2, 8, dropout=0.3, batch_first=True)
    ),
    "noise": lambda: between(lambda x: x + 0.3 * torch.randn_like(x)),
    "common-noise": lambda: between(lambda x: x + torch.rand(8)),
    "gates": lambda: between(lambda x: x * torch.bernoulli(torch.sigmoid(x.detach()))),
    "gumbel": lambda: between(functional.gumbel_softmax),
    "uniform": lambda: between(lambda x: x + torch.empty_like(x).uniform_(-1.0, 1.0)),
    "normal": lambda: between(lambda x: x * torch.empty_like(x).normal_(1.0, 0.2)),
}


class Noisy(Task):
    """Random vectors, learnt by a module that draws."""

    name = "noisy"
    description = "for tests"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def module(self) -> nn.Module:
        return MODULES[self.kind]()

    def examples(self, split: Split) -> Examples:
        generator = torch.Generator().manual_seed(len(split))
        return tuple(torch.randn(40, *size, generator=generator) for size in ((8,), ()))

    def loss(self, model: Model, batch: Examples) -> Tensor:
        return (model(batch[0]).flatten(1).mean(1) - batch[1]).square().mean()


CANDIDATES = [
    Candidate(rule=rule, lr=lr, seed=seed)
    for rule, lr in (("g", 0.1), ("adam", 0.01), ("drop(g, 0.5)", 0.1))
    for seed in (3, 4, 2**31 - 1)
]


def train(task: Task, candidates: list[Candidate], steps: int = 6) -> list[RowResult]:
    return train_population(task, candidates, Protocol(steps=steps, batch_size=16), points=2,
                            keep_weights=True)  # fmt: skip


def same(one: RowResult, other: RowResult) -> bool:
    assert one.weights is not None
    assert other.weights is not None
    return (one.state, one.metrics, one.curve) == (other.state, other.metrics, other.curve) and all(
        torch.equal(value, other.weights[name]) for name, value in one.weights.items()
    )


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_a_row_draws_the_same_alone_among_others_and_in_another_order(kind: str) -> None:
    task = Noisy(kind)
    torch.manual_seed(1)
    among = train(task, CANDIDATES)
    torch.manual_seed(2)
    backwards = train(task, CANDIDATES[::-1])[::-1]
    for row in range(len(CANDIDATES)):
        assert not among[row].one_by_one
        assert same(among[row], backwards[row])
    for row in (1, 6):
        assert same(among[row], train(task, [CANDIDATES[row]])[0])
    assert among[0].metrics != among[1].metrics


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_a_row_draws_the_same_in_an_ordinary_loop(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = LibraryEntry("plain_SGD", "torch.optim", "SGD", 0.1, "")
    monkeypatch.setitem(LIBRARY, entry.name, entry)
    candidates = [
        Candidate(rule=rule, lr=0.1, seed=seed)
        for rule in ("g", "torch.optim.SGD")
        for seed in (3, 4)
    ]
    results = train_population(
        Noisy(kind), candidates, Protocol(steps=6, batch_size=16), points=2, keep_weights=True,
        dtype=torch.float64,
    )  # fmt: skip
    assert [each.one_by_one for each in results] == [False, False, True, True]
    for one, other in zip(results[:2], results[2:], strict=True):
        assert one.curve[-1].metrics == pytest.approx(other.curve[-1].metrics, rel=1e-9)
        for name, value in (one.weights or {}).items():
            torch.testing.assert_close(value, (other.weights or {})[name], rtol=1e-9, atol=1e-11)


def test_a_row_draws_the_same_when_its_neighbours_have_left() -> None:
    wild = Candidate(rule="g", lr=1e9, seed=3)
    among = train(Noisy("dropout"), [wild, *CANDIDATES, wild], 24)
    assert [each.state.value for each in among] == ["INFEASIBLE", *["COMPLETE"] * 9, "INFEASIBLE"]
    for one, other in zip(among[1:-1], train(Noisy("dropout"), CANDIDATES, 24), strict=True):
        assert same(one, other)
    pruner = SuccessiveHalving(reduction=3, min_steps=4)
    protocol = Protocol(steps=6, batch_size=16, pruner=pruner)
    for one, other in zip(
        train_population(Noisy("dropout"), CANDIDATES, protocol, points=2, keep_weights=True),
        train(Noisy("dropout"), CANDIDATES),
        strict=True,
    ):
        assert one.step < 6 or one.metrics["validation_loss"] == other.metrics["validation_loss"]


def test_draws_are_distributed_as_torch_has_them() -> None:
    """Six standard errors; the draws are fixed anyway."""
    n = 100_000
    with ModuleDraws([0], torch.device("cpu"), stacked=False).at(0, 0) as draws:
        kept = functional.dropout(torch.ones(n), 0.3)
        uniform, normal = torch.empty(n).uniform_(-1, 3), torch.empty(n).normal_(2, 3)
        waits, gates = torch.empty(n).exponential_(2.0), torch.full((n,), 0.2).bernoulli()
        fused, mask = torch.native_dropout(torch.ones(n), 0.25, True)
    assert draws.drew
    assert set(kept.tolist()) == {0.0, float(torch.tensor(1.0) / torch.tensor(0.7))}
    assert torch.equal(fused, mask / 0.75)
    for values, mean, variance in (
        ((kept > 0).float(), 0.7, 0.21), (uniform, 1.0, 16 / 12), (normal, 2.0, 9.0),
        (waits, 0.5, 0.25), (gates, 0.2, 0.16), (mask.float(), 0.75, 0.1875),
    ):  # fmt: skip
        assert abs(float(values.double().mean()) - mean) < 6 * (variance / n) ** 0.5
        assert float(values.double().var()) == pytest.approx(variance, rel=0.05)


def test_draws_leave_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    train(Noisy("transformer"), CANDIDATES[:2], 3)
    assert torch.equal(before, torch.get_rng_state())
