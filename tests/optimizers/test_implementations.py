"""The named rules against the implementations people use.

torch is always compared; pytorch-optimizer and qhoptim where they are installed (they are no
dependency: `pip install pytorch_optimizer qhoptim` runs the rest).
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from optimizers.rule import RuleOptimizer
from tests.optimizers.oracles import BOWLS_START, bowls
from tests.optimizers.training import train, train_named

ETAS = [0.5 * (1 + np.cos(np.pi * t / 50)) for t in range(50)]


@dataclass(frozen=True)
class Peer:
    """`name` of the catalogue with `ours` equals `cls` of `module` with `theirs`."""

    name: str
    cls: str
    theirs: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    module: str = "torch.optim"
    lr: float = 0.01
    rtol: float = 1e-12

    def __str__(self) -> str:
        return f"{self.name}-{self.cls}"


TORCH = [
    Peer("sgd", "SGD"),
    Peer("sgd", "SGD", {"weight_decay": 0.1}, {"decay": "l2", "weight_decay": 0.1}),
    Peer("momentum", "SGD", {"momentum": 0.9}),
    Peer("nesterov", "SGD", {"momentum": 0.8, "nesterov": True}, {"mu": 0.8}),
    Peer("adagrad", "Adagrad"),
    Peer("adadelta", "Adadelta", lr=1.0),
    Peer("rmsprop", "RMSprop"),
    Peer("rmsprop", "RMSprop", {"alpha": 0.9}, {"rho": 0.9}),
    Peer("rmsprop_momentum", "RMSprop", {"momentum": 0.9}),
    Peer("rmsprop_centered", "RMSprop", {"centered": True}),
    Peer("rmsprop_centered_momentum", "RMSprop", {"centered": True, "momentum": 0.9}, lr=1e-3),
    Peer("adam", "Adam"),
    Peer("adam", "Adam", {"betas": (0.8, 0.9), "eps": 1e-3},
         {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3}),
    Peer("adam_l2", "Adam", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    Peer("adamw", "AdamW"),
    Peer("adamw", "AdamW", {"weight_decay": 0.3}, {"weight_decay": 0.3}),
    Peer("adamw_paper", "AdamW", {"weight_decay": 0.1}, {"weight_decay": 0.001}),
    Peer("amsgrad", "Adam", {"amsgrad": True}),
    Peer("nadam", "NAdam"),
    Peer("radam", "RAdam"),
]  # fmt: skip

LIBRARY = [
    Peer("lion", "Lion", {"weight_decay": 0.01}),
    Peer("tiger", "Tiger", {"beta": 0.945}),
    Peer("signsgd", "SignSGD", {"momentum": 0.0}),
    # It also starts the average of g from 1e-6.
    Peer("yogi", "Yogi", rtol=1e-3),
    Peer("adabelief", "AdaBelief"),
    Peer("adabelief", "AdaBelief", {"eps": 1e-3}, {"eps": 1e-3}),
    Peer("adan", "Adan"),
    Peer("ademamix", "AdEMAMix", {"weight_decay": 0.01, "weight_decouple": True}),
    Peer("ademamix_scheduled", "AdEMAMix", {"t_alpha_beta3": 50},
         {"decay": "none", "weight_decay": 0}),
    Peer("adopt", "ADOPT"),
    Peer("adopt", "ADOPT", {"eps": 0.3}, {"eps": 0.3}),
    Peer("aggmo", "AggMo"),
    Peer("qhm", "QHM", {"momentum": 0.999, "nu": 0.7}),
    Peer("sgdw", "SGDW", {"momentum": 0.9, "weight_decay": 0.01}),
    Peer("lars", "LARS", {"weight_decay": 1e-4}, {"eps": 0.0}, lr=1.0),
    Peer("grams", "Grams", {"weight_decay": 0.01, "eps": 1e-8}),
    # It corrects the averages' bias in the step, not in the ratio, to whose divisor it adds eps.
    # Without eps and decay the ratio takes any factor out of the update, and both are one rule.
    Peer("lamb", "Lamb", {"eps": 1e-30, "adam_debias": True}, {"eps": 1e-30, "strength": 0.0},
         lr=0.1),
]  # fmt: skip
QUASI_HYPERBOLIC = [
    Peer("qhm", "QHM", {"momentum": 0.999, "nu": 0.7}),
    Peer("qhadam", "QHAdam", {"nus": (0.7, 1.0), "betas": (0.995, 0.999)}),
    Peer("qhadam", "QHAdam", {"nus": (0.6, 0.8), "betas": (0.9, 0.99)},
         {"nu1": 0.6, "nu2": 0.8, "beta1": 0.9, "beta2": 0.99}),
]  # fmt: skip


# LARS scales matrices only, there.
START = [BOWLS_START[0].reshape(1, 3), BOWLS_START[1]]


@pytest.fixture(autouse=True)
def _double():
    """torch.optim.NAdam keeps its product of momenta in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def gradient(weights):
    first, second = bowls([weights[0].ravel(), weights[1]])
    return [first.reshape(1, 3), second]


def compare(peer: Peer, scheduled: bool) -> None:
    cls = getattr(import_module(peer.module), peer.cls)
    etas = ETAS if scheduled else None
    theirs = train(lambda p: cls(p, lr=peer.lr, **peer.theirs), gradient, START, etas=etas)
    ours = train_named(
        peer.name, peer.lr, gradient, START, schedule="cosine" if scheduled else None,
        **peer.ours,
    )  # fmt: skip
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=peer.rtol, atol=1e-14)


@pytest.mark.parametrize("scheduled", [False, True], ids=["constant", "cosine"])
@pytest.mark.parametrize("peer", TORCH, ids=str)
def test_torch(peer, scheduled):
    compare(peer, scheduled)


@pytest.mark.parametrize("peer", LIBRARY, ids=str)
def test_pytorch_optimizer(peer):
    pytest.importorskip("pytorch_optimizer", reason="an optional peer")
    compare(Peer(**{**vars(peer), "module": "pytorch_optimizer"}), scheduled=False)


@pytest.mark.filterwarnings("ignore:Convention difference")
@pytest.mark.filterwarnings("ignore:This overload of add_ is deprecated")
@pytest.mark.parametrize("peer", QUASI_HYPERBOLIC, ids=str)
def test_qhoptim(peer):
    pytest.importorskip("qhoptim", reason="an optional peer")
    compare(Peer(**{**vars(peer), "module": "qhoptim.pyt"}), scheduled=False)


def test_float32_stays_within_rounding_of_torch():
    """A small network: 60 steps of adamw in float32 beside torch's."""
    torch.set_default_dtype(torch.float32)
    results = []
    for make in (
        lambda p: torch.optim.AdamW(p, lr=0.01),
        lambda p: RuleOptimizer.named("adamw", p, 0.01),
    ):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        x = torch.randn(32, 5)
        y = x[:, :1] * x[:, 1:2]
        optimizer = make(net.parameters())
        for _ in range(60):
            optimizer.zero_grad()
            (net(x) - y).square().mean().backward()
            optimizer.step()
        results.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-5)
