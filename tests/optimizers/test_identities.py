"""What must be equal, and what famously differs."""

import itertools

import numpy as np
import pytest
import torch

from optimizers.catalogue import CATALOGUE
from optimizers.rule import RuleOptimizer
from tests.optimizers.oracles import BEALE_START, BOWLS_START, beale, bowls
from tests.optimizers.training import train, train_named


def rule(text, lr, gradient=beale, start=BEALE_START, etas=None, steps=50, **options):
    options.setdefault("total_steps", steps)
    return train(lambda p: RuleOptimizer(p, text, lr, **options), gradient, start, steps, etas)


def named(name, lr, **options):
    return train_named(name, lr, beale, BEALE_START, **options)


def same(a, b, rtol=1e-12):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-14)


EQUAL = [
    (("qhm", 1e-3, {"nu": 0.0}), ("sgd", 1e-3, {})),
    (("qhm", 1e-2, {"nu": 1.0, "beta": 0.9}), ("momentum", 1e-3, {})),
    (("qhm", 1e-2, {"nu": 0.9, "beta": 0.9}), ("nesterov", 1e-3, {})),
    (("qhadam", 1e-2, {"nu1": 1.0, "nu2": 1.0, "beta1": 0.9}), ("adam", 1e-2, {})),
    (("aggmo", 1e-3, {"mu1": 0.9, "mu2": 0.9, "mu3": 0.9}), ("momentum", 1e-3, {})),
    (("powersign", 1e-3, {"base": 1.0}), ("sgd", 1e-3, {})),
    (("ademamix", 1e-2, {"alpha": 0.0}), ("adamw", 1e-2, {})),
    (("adamw_paper", 1e-2, {"weight_decay": 1e-3}), ("adamw", 1e-2, {"weight_decay": 0.1})),
    (
        ("adamw_paper", 1e-2, {"weight_decay": 1e-3, "schedule": "cosine"}),
        ("adamw", 1e-2, {"weight_decay": 0.1, "schedule": "cosine"}),
    ),
    (("momentum_inside", 1e-3, {}), ("momentum", 1e-3, {})),
    (("tiger", 1e-3, {}), ("lion", 1e-3, {"beta1": 0.945, "beta2": 0.945})),
]


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=[f"{a[0]}-{b[0]}" for a, b in EQUAL])
def test_equal(one, other):
    same(named(one[0], one[1], **one[2]), named(other[0], other[1], **other[2]), rtol=1e-11)


def test_demon_over_an_endless_run_is_momentum():
    same(named("demon_sgdm", 1e-3, total_steps=10**15), named("momentum", 1e-3), rtol=1e-10)


@pytest.mark.parametrize("base", [1e-3, 3e-4])
@pytest.mark.parametrize("schedule", [None, "cosine"])
def test_sgd_with_l2_is_sgd_with_decoupled_decay(base, schedule):
    """Proposition 1 of Loshchilov & Hutter; with momentum it fails."""
    options = {"weight_decay": 0.5, "schedule": schedule}
    same(
        named("sgd", base, decay="l2", **options), named("sgd", base, decay="decoupled", **options)
    )
    coupled = named("momentum", base, decay="l2", **options)
    apart = named("momentum", base, decay="decoupled", **options)
    assert np.abs(coupled[0] - apart[0]).max() > 1e-4


@pytest.mark.parametrize(
    ("text", "power"),
    [("adam", 0), ("powersign", 1), ("addsign", 1), ("sign(g)", 0), ("trace(g, mu)", 1)],
)
def test_scaling_the_gradient(text, power):
    """Adam without eps does not see the scale; PowerSign and AddSign pass it on."""
    texts = {
        "powersign": "base ^ (sign(g) * sign(ema(g, beta))) * g",
        "addsign": "(alpha + sign(g) * sign(ema(g, beta))) * g",
    }
    options = {"eps": 0.0} if text == "adam" else {}
    program = texts.get(text, text)
    scaled = rule(program, 1e-3 / 64.0**power, lambda w: [64 * beale(w)[0]], **options)
    same(scaled, rule(program, 1e-3, **options))


def test_signs_without_agreement_are_sgd():
    """f = 0: base^0 = 1, and alpha = 1."""
    expected = rule("g", 1e-3)
    same(rule("base ^ (0 * sign(g) * sign(m)) * g", 1e-3), expected)
    same(rule("(alpha + 0 * sign(g) * sign(m)) * g", 1e-3), expected)


def test_sugar_is_the_catalogue():
    same(rule("adam", 1e-2), named("adam", 1e-2))


def test_decoupled_decay_alone_shrinks_by_the_product():
    etas = [0.5 * (1 + np.cos(np.pi * t / 50)) for t in range(50)]
    for decay, rate in (("decoupled", 0.01), ("paper", 1.0)):
        (w,) = rule(
            "0.0 + g", 0.01, lambda w: [np.zeros(2)], decay=decay, weight_decay=0.3, etas=etas
        )
        kept = np.prod([1 - eta * rate * 0.3 for eta in etas])
        np.testing.assert_allclose(w, BEALE_START[0] * kept, rtol=1e-12)


def test_amsgrad_never_forgets():
    p = torch.tensor([1.0, 1.5], dtype=torch.float64, requires_grad=True)
    optimizer = RuleOptimizer.named("amsgrad_paper", [p], 0.01)
    last = torch.zeros(2, dtype=torch.float64)
    slot = None
    for _ in range(60):
        p.grad = torch.from_numpy(beale([p.detach().numpy()])[0])
        optimizer.step()
        slot = next(v for k, v in optimizer.state[p].items() if "runmax" in k or "max" in k)
        assert (slot >= last).all()
        last = slot.clone()


def reddi(name, steps, slopes, start, **hyperparameters):
    """Reddi et al. 2018: slopes that come around, on [-1, 1], where the best is -1.

    Returns:
        The last x and the regret a step.
    """
    x = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    optimizer = RuleOptimizer.named(name, [x], 0.5, **hyperparameters)
    regret = 0.0
    for t, slope in zip(range(1, steps + 1), itertools.cycle(slopes), strict=False):
        regret += slope * (x.item() + 1)
        x.grad = torch.full_like(x, slope)
        optimizer.param_groups[0]["lr"] = 0.5 * t**-0.5
        optimizer.step()
        with torch.no_grad():
            x.clamp_(-1.0, 1.0)
    return x.item(), regret / steps


def test_reddis_counterexample():
    """Theorem 1 with C = 3."""
    problem = {"slopes": (3.0, -1.0, -1.0), "start": 1.0, "beta1": 0.0, "beta2": 1 / (1 + 3.0**2)}
    adam, lost = reddi("adam", 10_000, **problem)
    assert adam == pytest.approx(0.9948, abs=2e-3)
    assert lost == pytest.approx(0.671, abs=3e-3)
    amsgrad, lost = reddi("amsgrad_paper", 10_000, **problem)
    assert amsgrad == pytest.approx(-1.0, abs=1e-2)
    assert lost < 0.02


def test_reddis_synthetic_problem():
    """Section 5: Adam goes to the worst point, AMSGrad to the best, here in 10,100 steps.

    After 100,000 they are at 0.9928 and -0.9842, with regrets of 0.310 and 0.122.
    """
    problem = {"slopes": (1010.0, *[-10.0] * 100), "start": 0.0, "beta1": 0.9, "beta2": 0.99}
    adam, lost = reddi("adam", 10_100, **problem)
    assert adam > 0.9
    amsgrad, regret = reddi("amsgrad_paper", 10_100, **problem)
    assert amsgrad < -0.75
    assert regret < lost


def test_conventions_that_are_not_interchangeable():
    """amsgrad with and without correction; SGDW's learning rate inside and outside the buffer."""
    assert np.abs(named("amsgrad", 0.01)[0] - named("amsgrad_paper", 0.01)[0]).max() > 0.1
    inside = named("sgdw_paper", 1e-3, schedule="cosine")
    outside = named("sgdw", 1e-3, decay="paper", weight_decay=1e-4, schedule="cosine")
    assert np.abs(inside[0] - outside[0]).max() > 1e-3


@pytest.mark.parametrize("name", ["momentum_inside", "sgdw_paper"])
def test_a_learning_rate_inside_the_buffer_that_falls_to_nothing(name):
    """The printed form down to any rate above 0; at 0 itself, as the note says, no move."""
    assert "At eta_t = 0 itself the weights stand still" in CATALOGUE[name].note
    options = {"weight_decay": 0.0} if name == "sgdw_paper" else {}

    def ends(etas):
        return [
            train(
                lambda p: RuleOptimizer.named(name, p, 0.1, **options),
                lambda w: [np.ones(1)], [np.ones(1)], steps, etas,
            )[0].item()
            for steps in (1, 2, 3, 4)
        ]  # fmt: skip

    assert ends([1, 1, 1e-11, 1]) == pytest.approx([0.9, 0.71, 0.539, 0.2851], rel=1e-9)
    stays = ends([1, 1, 0, 1])
    assert stays[2] == stays[1]
    assert stays == pytest.approx([0.9, 0.71, 0.71, 0.4561], rel=1e-12)


def test_reductions_are_per_tensor():
    """LARS on two tensors is not LARS on their concatenation."""
    apart = train_named("lars", 0.1, bowls, BOWLS_START)

    def joined(weights):
        a, b = weights[0][:3], weights[0][3:].reshape(2, 2)
        return [np.concatenate([x.ravel() for x in bowls([a, b])])]

    start = [np.concatenate([w.ravel() for w in BOWLS_START])]
    (together,) = train_named("lars", 0.1, joined, start)
    assert np.abs(together[:3] - apart[0]).max() > 1e-6
