"""The tasks without data, against closed forms, published starts and exact recursions."""

import pytest
import torch
from torch import Tensor

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import TrialState
from workers.batches import batch_order
from workers.evaluation import judge
from workers.population import RowResult, train_population
from workers.protocol import Evaluation, Protocol, TaskSpec
from workers.tasks import noisy_quadratic, quadratic
from workers.tasks.landscape import Landscape
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples

LANDSCAPES = {name: task for name, task in TASKS.items() if isinstance(task, Landscape)}


def train(task: str, candidates: list[Candidate], steps: int, batch_size: int = 64) -> list[Tensor]:
    """Return where the candidates ended, each [n] float64."""
    protocol = Protocol(steps=steps, batch_size=batch_size)
    options = {"dtype": torch.float64, "points": 1, "keep_weights": True}
    results: list[RowResult] = train_population(TASKS[task], candidates, protocol, **options)
    assert [each.state for each in results] == [TrialState.COMPLETE] * len(candidates)
    return [each.weights["point"] for each in results if each.weights]


@pytest.mark.parametrize("name", sorted(LANDSCAPES))
def test_the_minimum_is_zero_and_nothing_is_below(name: str) -> None:
    task = LANDSCAPES[name]
    lowest = task.minimum().clone().double().requires_grad_()
    value = task.value(lowest)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    assert lowest.grad is not None
    assert lowest.grad.abs().max() < 1e-6
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 0.1, 1.0):
        near = lowest.detach() + scale * torch.randn(len(lowest), generator=generator).double()
        assert float(task.value(near.detach())) > 0


def test_starts_are_the_published_ones_for_seed_0_and_near_them_for_others() -> None:
    for name, start, value in (("beale", (1, 1.5), 41.25), ("rosenbrock", (-1.2, 1), 24.2)):
        task = LANDSCAPES[name]
        first = next(task.initial(0).parameters()).detach()
        assert first.tolist() == pytest.approx(start)
        assert float(task.value(first)) == pytest.approx(value)
        others = [next(task.initial(seed).parameters()) for seed in range(1, 40)]
        away = torch.stack([other.detach() - first for other in others])
        assert len({tuple(each) for each in away.tolist()}) == len(others)
        assert 0.05 < float(away.std()) < 0.2
        assert torch.equal(next(task.initial(7).parameters()), others[6])


def slopes(task: Landscape, point: Tensor, batch: Examples, width: float = 1e-5) -> Tensor:
    """Return the loss's central differences at `point`, without a gradient."""

    def loss(at: Tensor) -> Tensor:
        return task.loss(lambda: at, batch)

    steps = width * torch.eye(len(point), dtype=point.dtype)
    return torch.stack([loss(point + step) - loss(point - step) for step in steps]) / (2 * width)


@pytest.mark.parametrize("name", sorted(LANDSCAPES))
def test_the_gradient_trained_on_is_the_slope_of_the_loss(name: str) -> None:
    task, lr, seeds = LANDSCAPES[name], 1e-3, (0, 5)
    ends = train(name, [Candidate(rule="g", lr=lr, seed=seed) for seed in seeds], 1)
    examples = tuple(value.double() for value in task.examples("train"))
    for seed, end in zip(seeds, ends, strict=True):
        start = next(task.initial(seed).parameters()).detach().double()
        order = batch_order(seed, len(examples[0]), 64, 1)[0] if examples else None
        batch = tuple(value[order] for value in examples)
        expected = slopes(task, start, batch)
        torch.testing.assert_close((start - end) / lr, expected, rtol=1e-6, atol=1e-6)


def test_beale_follows_the_published_trajectories() -> None:
    candidates = {
        "sgd": Candidate(rule="g", lr=1e-3),
        "momentum": Candidate(rule="trace(g, 0.9)", lr=1e-3),
        "adam": Candidate(
            rule="debias(ema(g, .9)) / (sqrt(debias(ema(g^2, .999))) + 1e-8)", lr=0.01
        ),
    }
    ends = {
        "sgd": (1.065720522562, 0.485603464555),
        "momentum": (1.613718458246, -0.134977023186),
        "adam": (0.635231741083, 1.100606811120),
    }
    found = train("beale", list(candidates.values()), 50)
    for name, point in zip(candidates, found, strict=True):
        assert point.tolist() == pytest.approx(ends[name], abs=1e-11)


def test_the_quadratic_is_rotated_and_has_its_condition() -> None:
    hessian = quadratic.hessian()
    values = torch.linalg.eigvalsh(hessian)
    assert float(values[-1] / values[0]) == pytest.approx(1000, rel=1e-9)
    off = hessian - torch.diag(hessian.diagonal())
    assert float(off.norm()) > 0.5 * float(hessian.norm())
    point = torch.linspace(-1, 1, 40, dtype=torch.float64)
    away = point - TASKS["quadratic"].minimum()
    assert float(TASKS["quadratic"].value(point)) == pytest.approx(float(away @ hessian @ away) / 2)


def test_gradient_descent_on_the_quadratic_is_the_power_of_a_matrix() -> None:
    task, (end,) = LANDSCAPES["quadratic"], train("quadratic", [Candidate(rule="g", lr=1.2)], 100)
    start = next(task.initial(0).parameters()).detach().double()
    shrink = torch.eye(40, dtype=torch.float64) - 1.2 * quadratic.hessian()
    expected = torch.linalg.matrix_power(shrink, 100) @ (start - task.minimum())
    torch.testing.assert_close(end - task.minimum(), expected, rtol=1e-9, atol=1e-11)


def test_noise_is_the_batches_and_has_its_variance() -> None:
    task, h = LANDSCAPES["noisy-quadratic"], noisy_quadratic.curvatures()
    (centres,) = task.examples("train")
    away = centres.double() - task.minimum().double()
    assert away.mean(0).abs().max() < 1e-4
    torch.testing.assert_close((h * away.square()).mean(0), torch.ones_like(h), rtol=0.06, atol=0)
    # gradient descent is linear in the noise, so its end is known exactly
    lr, steps, seed = 0.8, 30, 5
    (end,) = train("noisy-quadratic", [Candidate(rule="g", lr=lr, seed=seed)], steps)
    position = next(task.initial(seed).parameters()).detach().double()
    for batch in batch_order(seed, len(centres), 64, steps):
        position = position - lr * h * (position - centres.double()[batch].mean(0))
    torch.testing.assert_close(end, position, rtol=1e-9, atol=1e-12)


def test_the_noisy_quadratic_follows_its_moments() -> None:
    """Zhang et al. 2019, section 3: E (w-c)² shrinks by (1 - lr·h)² and gains lr²·h/batch."""
    task, h = LANDSCAPES["noisy-quadratic"], noisy_quadratic.curvatures()
    lr, steps, batch, seeds = 1.0, 40, 8, 200
    ends = train(
        "noisy-quadratic", [Candidate(rule="g", lr=lr, seed=s) for s in range(seeds)], steps, batch
    )
    starts = torch.stack([next(task.initial(seed).parameters()) for seed in range(seeds)])
    moment = (starts.detach().double() - task.minimum()).square().mean(0)
    for _ in range(steps):
        moment = (1 - lr * h) ** 2 * moment + lr**2 * h / batch
    found = (torch.stack(ends) - task.minimum()).square().mean(0)
    assert float((h * found).sum()) == pytest.approx(float((h * moment).sum()), rel=0.05)


@pytest.mark.parametrize("name", sorted(LANDSCAPES))
def test_every_loss_is_the_functions_value(name: str) -> None:
    task = TASKS[name]
    protocol = Protocol(steps=20, test=True)
    (result,) = train_population(
        task, [Candidate(rule="g", lr=1e-4)], protocol, dtype=torch.float64, keep_weights=True
    )
    assert result.weights is not None
    point = result.weights["point"]
    assert isinstance(task, Landscape)
    assert result.metrics["validation_loss"] == pytest.approx(float(task.value(point)))
    assert result.metrics["test_loss"] == result.metrics["validation_loss"]
    distance = float((point - task.minimum()).norm())
    assert result.metrics["validation_distance"] == pytest.approx(distance)
    assert set(task.metrics) <= set(result.metrics)


def test_decay_and_the_weights_alone_do_not_find_a_minimum() -> None:
    for name in ("quadratic", "noisy-quadratic"):
        (end,) = train(name, [Candidate(rule="w + 1e-9 * g", lr=0.1)], 200)
        assert float(TASKS[name].value(end)) > 0.1


def test_a_landscape_is_judged_like_any_task() -> None:
    evaluation = Evaluation(
        task=TaskSpec(name="rosenbrock"),
        protocols={
            Stage.SEARCH: Protocol(steps=60, grid_steps=20, seeds=3, metric="validation_distance")
        },
    )
    rules = ("g", "adam", "exp(1000 * g)")
    proposals = [Proposal(number=k, candidate=Candidate(rule=rule)) for k, rule in enumerate(rules)]
    plain, adam, wild = judge(evaluation, proposals)
    assert plain.state is adam.state is TrialState.COMPLETE
    assert adam.spread["validation_loss"] > 0
    assert len(adam.by_seed["validation_distance"]) == 3
    assert wild.state is TrialState.INFEASIBLE
