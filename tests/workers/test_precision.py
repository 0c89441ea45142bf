import random
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dsl.candidate import Candidate
from dsl.schema import Precision
from workers.population import RowResult, train_population
from workers.precision import products
from workers.protocol import Protocol
from workers.tasks.digits_mlp import DigitsMLP
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples, Model, Task


class _Reader(nn.Module):
    """Reads an image row by row: attention, recurrence, normalisation, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.output = nn.Sequential(nn.Dropout(0.1), nn.Linear(64, 10))

    def forward(self, images: Tensor) -> Tensor:
        lines = images.unflatten(-1, (8, 8))
        seen, _ = self.attention(lines, lines, lines, need_weights=False)
        states, _ = self.recurrent(self.norm(lines + seen))
        return self.output(states.flatten(-2))


class Reader(DigitsMLP):
    name = "reader"

    def module(self) -> nn.Module:
        return _Reader()

    def stacked(self) -> None:
        return None


CANDIDATES = [Candidate(rule="adam", lr=0.01, seed=seed) for seed in (0, 0, 1)]
CANDIDATES += [Candidate(rule="drop(trace(g, mu), 0.2)", lr=0.05, seed=seed) for seed in (0, 2)]


def train(task: Task, candidates: list[Candidate], precision: Precision) -> list[RowResult]:
    protocol = Protocol(steps=12, precision=precision)
    return train_population(task, candidates, protocol, keep_weights=True)


def same(one: RowResult, other: RowResult) -> bool:
    return one.curve == other.curve and all(
        torch.equal(value, other.weights[name]) for name, value in one.weights.items()
    )


@pytest.mark.parametrize("task", [TASKS["digits-mlp"], Reader()], ids=lambda task: task.name)
def test_bfloat16_is_near_float32_and_rows_do_not_see_each_other(task: Task) -> None:
    whole, low = (train(task, CANDIDATES, precision) for precision in ("float32", "bfloat16"))
    for one, other in zip(whole, low, strict=True):
        assert other.obstacle is None
        assert other.metrics["validation_loss"] == pytest.approx(
            one.metrics["validation_loss"], rel=0.05
        )
        assert other.metrics != one.metrics
    order = random.Random(0).sample(range(len(CANDIDATES)), len(CANDIDATES))
    shuffled = train(task, [CANDIDATES[i] for i in order], "bfloat16")
    assert all(same(shuffled[place], low[i]) for place, i in enumerate(order))
    assert same(train(task, CANDIDATES[3:4], "bfloat16")[0], low[3])


def test_convolutions_with_batch_norm_are_stacked_in_bfloat16() -> None:
    whole, low = (
        train(TASKS["digits-conv"], CANDIDATES[:3], precision)
        for precision in ("float32", "bfloat16")
    )
    for one, other in zip(whole, low, strict=True):
        assert other.obstacle is None
        assert other.metrics["validation_loss"] == pytest.approx(
            one.metrics["validation_loss"], rel=0.2
        )
    assert same(train(TASKS["digits-conv"], CANDIDATES[:1], "bfloat16")[0], low[0])


def test_weights_and_losses_are_finer_than_bfloat16() -> None:
    (result,) = train(TASKS["digits-mlp"], CANDIDATES[:1], "bfloat16")
    losses = [point.metrics["train_loss"] for point in result.curve]
    values = [torch.tensor(losses), *result.weights.values()]
    for value in values:
        assert value.dtype == torch.float32
        assert (value != value.bfloat16().float()).float().mean() > 0.5


def test_optimizers_of_other_libraries_are_trained_in_bfloat16_too() -> None:
    candidate = Candidate(rule="pytorch_optimizer.Muon", lr=0.01)
    whole, low = (train(TASKS["digits-mlp"], [candidate], p)[0] for p in ("float32", "bfloat16"))
    assert low.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=0.05)
    assert low.metrics != whole.metrics


class Watching(DigitsMLP):
    """Writes down how GPUs compute products while it is trained."""

    name = "watching"

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def stacked(self) -> None:
        return None

    def loss(self, model: Model, batch: Examples) -> Tensor:
        backends = torch.backends
        for place in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
            self.seen.add(place.fp32_precision)
        return super().loss(model, batch)


@pytest.mark.parametrize(
    ("precision", "meant"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")]
)
def test_tf32_is_chosen_within_the_run_alone(precision: Precision, meant: str) -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    task = Watching()
    train(task, CANDIDATES[:1], precision)
    assert task.seen == {meant}
    assert [place.fp32_precision for place in places] == before
    with pytest.raises(ZeroDivisionError), products(precision):
        raise ZeroDivisionError
    assert [place.fp32_precision for place in places] == before


def test_on_a_cpu_tf32_is_float32() -> None:
    one, other = (train(TASKS["digits-mlp"], CANDIDATES[:2], p) for p in ("float32", "tf32"))
    assert all(map(same, one, other))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_on_a_gpu_every_precision_learns(precision: Precision) -> None:
    candidates = [Candidate(rule="adam", lr=0.01, seed=seed) for seed in range(3)]
    protocol = Protocol(steps=300, precision=precision)
    for result in train_population(TASKS["digits-mlp"], candidates, protocol, device="cuda"):
        assert result.metrics["validation_accuracy"] > 0.93


def test_other_precisions_are_refused() -> None:
    assert get_args(Precision) == ("float32", "tf32", "bfloat16")
    with pytest.raises(ValidationError, match="'float32', 'tf32' or 'bfloat16'"):
        Protocol(precision="float16")
    with pytest.raises(ValueError, match=r"'bfloat16' goes with dtype torch.float32"):
        train_population(
            TASKS["wine"], CANDIDATES, Protocol(precision="bfloat16"), dtype=torch.float64
        )
