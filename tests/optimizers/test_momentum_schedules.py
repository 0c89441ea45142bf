"""Momentum schedules against the published numbers, the language and torch."""

import pytest
import torch

from dsl.compile import compile_rule
from optimizers.momentum_schedules import MOMENTUM_SCHEDULES, MomentumScheduler
from optimizers.rule import RuleOptimizer
from tests.optimizers.oracles import BEALE_START, beale
from tests.optimizers.training import parameters, train_named

demon = MOMENTUM_SCHEDULES["demon"]


def test_published_demon():
    found = [demon(t, 100) for t in (0, 25, 50, 75, 90, 99)]
    expected = [0.9, 0.8709677419, 0.8181818182, 0.6923076923, 0.4736842105, 0.0825688073]
    assert found == pytest.approx(expected, abs=1e-10)
    assert demon(50, 100, 0.95) == pytest.approx(0.9047619048, abs=1e-10)


def test_demon_keeps_its_law():
    """β_t/(1 - β_t) = (1 - t/T) β_0/(1 - β_0)."""
    for t in range(100):
        beta = demon(t, 100)
        assert beta / (1 - beta) == pytest.approx((1 - t / 100) * 9, rel=1e-12)


@pytest.mark.parametrize("name", MOMENTUM_SCHEDULES)
def test_ends(name):
    schedule = MOMENTUM_SCHEDULES[name]
    assert schedule(0, 40, 0.9) == pytest.approx(0.9)
    if name in ("demon", "linear", "cosine"):
        assert schedule(40, 40, 0.9) == pytest.approx(0, abs=1e-15)


def test_one_cycle_equals_torch():
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, 10, max_momentum=0.95)
    found = []
    for t in range(10):
        found.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if t < 9:
            scheduler.step()
    ours = [MOMENTUM_SCHEDULES["one_cycle"](t, 10, 0.95) for t in range(10)]
    assert ours == pytest.approx(found, abs=1e-12)
    assert ours[:4] == pytest.approx([0.95, 0.9, 0.85, 0.854952], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("demon", "trace(g, demon(mu))"),
        ("linear", "trace(g, mu * ld)"),
        ("cosine", "trace(g, mu * cd)"),
        ("exponential", "trace(g, mu * exp(-5 * t / T))"),
    ],
)
def test_equals_the_language(name, text):
    rule = compile_rule(text)
    for t in range(0, 31, 3):
        (found,) = rule.scalars(t, 30, {"mu": 0.9})
        assert found == pytest.approx(MOMENTUM_SCHEDULES[name](t, 30, 0.9), rel=1e-12)


def test_the_scheduler_sets_what_the_rule_would():
    params = parameters(BEALE_START)
    optimizer = RuleOptimizer(params, "trace(g, mu)", 1e-3)
    scheduler = MomentumScheduler(optimizer, "demon", 50)
    for _ in range(50):
        params[0].grad = torch.from_numpy(beale([params[0].detach().numpy()])[0])
        optimizer.step()
        scheduler.step()
    expected = train_named("demon_sgdm", 1e-3, beale, BEALE_START)
    torch.testing.assert_close(
        params[0].detach(), torch.from_numpy(expected[0]), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("built", ["before", "after"])
def test_the_scheduler_resumes(built):
    optimizer = RuleOptimizer([torch.zeros(1, requires_grad=True)], "trace(g, mu)", 0.1)
    scheduler = MomentumScheduler(optimizer, "cosine", 50)
    for _ in range(20):
        scheduler.step()
    fresh = RuleOptimizer([torch.zeros(1, requires_grad=True)], "trace(g, mu)", 0.1)
    if built == "before":
        resumed = MomentumScheduler(fresh, "cosine", 50)
    fresh.load_state_dict(optimizer.state_dict())
    if built == "after":
        resumed = MomentumScheduler(fresh, "cosine", 50)
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(5):
        assert fresh.param_groups[0]["mu"] == optimizer.param_groups[0]["mu"]
        scheduler.step()
        resumed.step()


def test_errors():
    optimizer = RuleOptimizer([torch.zeros(1, requires_grad=True)], "trace(g, mu)", 0.1)
    with pytest.raises(ValueError, match="no momentum schedule 'demo'; allowed: cosine, demon"):
        MomentumScheduler(optimizer, "demo", 10)
    with pytest.raises(ValueError, match="no hyperparameter 'beta1'"):
        MomentumScheduler(optimizer, "demon", 10, "beta1")
    with pytest.raises(ValueError, match="no setting 'rate'; allowed: k"):
        MOMENTUM_SCHEDULES["exponential"](0, 10, rate=3)
    with pytest.raises(ValueError, match=r"momentum = 1, but it must be in \[0, 1\)"):
        demon(0, 10, 1)
    scheduler = MomentumScheduler(optimizer, "demon", 10)
    with pytest.raises(ValueError, match="the state is of 0 param groups, the optimizer has 1"):
        scheduler.load_state_dict({"last_step": 1, "initial": []})
