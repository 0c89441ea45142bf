"""Every task's rows are those of an ordinary loop, and depend on nothing beside them."""

import pytest
import torch

from dsl.candidate import Candidate
from optimizers.rule import RuleOptimizer
from workers.batches import batch_order
from workers.population import train_population
from workers.protocol import Protocol
from workers.tasks.registry import TASKS

STEPS = 12
RATES = {"breast-cancer": 1e-3}
CANDIDATES = [
    Candidate(rule="trace(g, mu)", lr=0.02, seed=0),
    Candidate(rule="adam", lr=0.01, seed=3),
    Candidate(rule="adam", lr=0.02, seed=0),
    Candidate(rule="ema(g, beta) * (1 + ld)", lr=0.02, seed=3),
]


def own(name: str) -> list[Candidate]:
    """Return the candidates with rates at which the task does not run away."""
    small = RATES.get(name, 1e-4 if name in ("beale", "rosenbrock") else None)
    update = {"lr": small} if small else {}
    return [each.model_copy(update=update) for each in CANDIDATES]


def alone(name: str, candidate: Candidate) -> dict[str, torch.Tensor]:
    """Train as anybody would: a module, autograd, a torch optimizer."""
    task = TASKS[name]
    module = task.initial(candidate.seed).double().train()
    assert candidate.lr is not None
    optimizer = RuleOptimizer(
        module.parameters(), candidate.rule, candidate.lr, total_steps=STEPS, seed=candidate.seed
    )
    examples = tuple(
        value.double() if value.is_floating_point() else value for value in task.examples("train")
    )
    order = batch_order(candidate.seed, len(examples[0]), 64, STEPS) if examples else None
    for step in range(STEPS):
        optimizer.zero_grad()
        batch = () if order is None else tuple(value[order[step]] for value in examples)
        task.loss(module, batch).backward()
        optimizer.step()
    return {key: value.detach() for key, value in module.named_parameters()}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_row_equals_the_one_at_a_time_run(name: str) -> None:
    candidates = own(name)
    options = {"dtype": torch.float64, "points": 1, "keep_weights": True}
    results = train_population(TASKS[name], candidates, Protocol(steps=STEPS), **options)
    for candidate, result in zip(candidates, results, strict=True):
        assert result.weights is not None
        for key, value in alone(name, candidate).items():
            torch.testing.assert_close(
                result.weights[key], value, rtol=1e-9, atol=1e-9, msg=f"{candidate.rule}: {key}"
            )


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_row_is_the_same_alone_and_among_others(name: str) -> None:
    candidates, protocol = own(name), Protocol(steps=STEPS)
    options = {"points": 1, "keep_weights": True}
    among = train_population(TASKS[name], candidates * 5, protocol, **options)
    for i in (0, 3):
        (single,) = train_population(TASKS[name], [candidates[i]], protocol, **options)
        for place in (i, i + 16):
            assert single.metrics == among[place].metrics
            assert single.weights is not None
            assert among[place].weights is not None
            for key, value in single.weights.items():
                assert torch.equal(among[place].weights[key], value)
