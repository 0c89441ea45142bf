"""AdamWR and SGDWR, and normalised weight decay."""

import math

import numpy as np
import pytest
import torch

from optimizers.restarts import WarmRestarts, normalized_weight_decay
from optimizers.rule import RuleOptimizer
from tests.optimizers import oracles
from tests.optimizers.training import parameters


def test_published_normalized_decay():
    """CIFAR-10, batches of 128, 100 epochs, λ_norm = 0.025."""
    assert normalized_weight_decay(0.025, 128, 50_000, 100) == pytest.approx(1.26491e-4, rel=1e-5)
    lua = normalized_weight_decay(0.025, 128, 50_000, 100, whole_batches=True)
    assert lua == pytest.approx(1.26430e-4, rel=1e-5)
    long = normalized_weight_decay(0.025, 128, 24 * 50_000, 100)
    assert 1.26491e-4 / long == pytest.approx(math.sqrt(24), rel=1e-5)


@pytest.mark.parametrize(("name", "oracle"), [
    ("adamw_paper", oracles.adam()), ("sgdw_paper", oracles.momentum_inside()),
])  # fmt: skip
def test_adamwr_and_sgdwr(name, oracle):
    """Periods of 2 and 4 epochs of 5 steps; λ falls by √2 at the restart."""
    params = parameters(oracles.BOWLS_START)
    optimizer = RuleOptimizer.named(name, params, 0.01)
    scheduler = WarmRestarts(optimizer, T_0=2, T_mult=2, batch_size=10, examples=50, norm=0.5)
    weights = [w.copy() for w in oracles.BOWLS_START]
    states = [{}, {}]
    cycles = []
    for t in range(30):
        for p, g in zip(params, oracles.bowls([p.detach().numpy() for p in params]), strict=True):
            p.grad = torch.from_numpy(g)
        cycles.append(scheduler.cycle)
        optimizer.step()
        scheduler.step()
        start, period = (0, 2) if t < 10 else (10, 4)
        eta = 0.5 * (1 + math.cos(math.pi * (t - start) / 5 / period))
        decay = 0.5 / math.sqrt(5 * period)
        k = oracles.Step(t, 30, 0.01 * eta, eta)
        grads = oracles.bowls(weights)
        weights = [
            oracles.paper(oracle, decay)(s, g, w, k)
            for s, g, w in zip(states, grads, weights, strict=True)
        ]
    assert cycles == [0] * 10 + [1] * 20
    for p, w in zip(params, weights, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("order", ["optimizer first", "built last", "schedule first"])
def test_resumes_to_the_bit(order):
    def build(loaded=None):
        params = parameters(oracles.BOWLS_START)
        optimizer = RuleOptimizer.named("adamw_paper", params, 0.1)
        if loaded:
            optimizer.load_state_dict(loaded)
        return params, optimizer, WarmRestarts(optimizer, T_0=2, batch_size=10, examples=50)

    def train(params, optimizer, scheduler, steps):
        for _ in range(steps):
            grads = oracles.bowls([p.detach().numpy() for p in params])
            for p, g in zip(params, grads, strict=True):
                p.grad = torch.from_numpy(g)
            optimizer.step()
            scheduler.step()
        return params

    whole = train(*build(), 20)
    half = build()
    train(*half, 7)
    saved, schedule = half[1].state_dict(), half[2].state_dict()
    params, optimizer, scheduler = build(saved if order == "built last" else None)
    if order == "optimizer first":
        optimizer.load_state_dict(saved)
    scheduler.load_state_dict(schedule)
    if order == "schedule first":
        optimizer.load_state_dict(saved)
    for p, q in zip(params, half[0], strict=True):
        p.data.copy_(q.data)
    train(params, optimizer, scheduler, 13)
    assert scheduler.cycle == 1
    for p, q in zip(params, whole, strict=True):
        assert torch.equal(p, q)


def test_the_base_rate_of_a_loaded_optimizer_is_not_its_annealed_one():
    p = torch.zeros(1, requires_grad=True)
    optimizer = RuleOptimizer([p], "g", 0.1)
    scheduler = WarmRestarts(optimizer, T_0=1, batch_size=1, examples=10, norm=None)
    for _ in range(7):
        scheduler.step()
    loaded = RuleOptimizer([p], "g", 0.1)
    loaded.load_state_dict(optimizer.state_dict())
    assert loaded.param_groups[0]["lr"] < 0.05
    WarmRestarts(loaded, T_0=1, batch_size=1, examples=10, norm=None)
    assert loaded.param_groups[0]["lr"] == 0.1


def test_errors():
    optimizer = RuleOptimizer([torch.zeros(1, requires_grad=True)], "g", 0.1)
    with pytest.raises(ValueError, match="T_0 = 0"):
        WarmRestarts(optimizer, T_0=0, batch_size=1, examples=1)
    with pytest.raises(ValueError, match=r"T_mult = 0.5 is outside 1 … 1000"):
        WarmRestarts(optimizer, T_mult=0.5, batch_size=1, examples=1)
    with pytest.raises(ValueError, match="examples = 0"):
        normalized_weight_decay(0.1, 1, 0, 1)
    scheduler = WarmRestarts(optimizer, batch_size=1, examples=1, norm=None)
    with pytest.raises(ValueError, match="the state is of 2 param groups, the optimizer has 1"):
        scheduler.load_state_dict({"last_step": 1, "base_lrs": [0.1, 0.1]})
