"""One case for every catalogue entry: its oracle, and a learning rate that moves but holds."""

from dataclasses import dataclass

import numpy as np

from tests.optimizers import oracles as o


@dataclass(frozen=True)
class Case:
    oracle: o.Oracle
    lr: float | None = 1e-3
    """On Beale's function; None where its gradients, of size 10, make the rule overflow."""
    bowls_lr: float = 0.01


def _sign(x):
    return np.sign(x)


_CLOCKS = {"": lambda t, total: 1.0, "_ld": o.ld, "_cd": o.cd, "_rd": o.rd(10)}

_SIGN_FAMILY = {
    name: case
    for suffix, clock in _CLOCKS.items()
    for name, case in {
        f"powersign{suffix}": Case(o.power_sign(o.E, clock)),
        f"powersign2{suffix}": Case(o.power_sign(2.0, clock)),
        f"addsign{suffix}": Case(o.add_sign(1.0, clock)),
        f"addsign2{suffix}": Case(o.add_sign(2.0, clock)),
    }.items()
}

CASES: dict[str, Case] = {
    "sgd": Case(o.sgd),
    "momentum": Case(o.momentum()),
    "momentum_inside": Case(o.momentum_inside()),
    "nesterov": Case(o.momentum(nesterov=True)),
    "sgdw": Case(o.decoupled(o.momentum(), 0.01)),
    "sgdw_paper": Case(o.paper(o.momentum_inside(), 1e-4)),
    "qhm": Case(o.qhm(), 0.01),
    "aggmo": Case(o.aggmo()),
    "demon_sgdm": Case(o.scheduled_momentum(lambda t, total: o.demon(0.9, t, total))),
    "momentum_linear": Case(o.scheduled_momentum(lambda t, total: 0.9 * (1 - t / total))),
    "momentum_cosine": Case(o.scheduled_momentum(lambda t, total: 0.9 * o.cd(t, total))),
    "momentum_exponential": Case(
        o.scheduled_momentum(lambda t, total: 0.9 * np.exp(-5 * t / total))
    ),
    "lars": Case(o.lars(), 0.1, 0.1),
    "adagrad": Case(o.adagrad, 0.01),
    "adadelta": Case(o.adadelta(), 1.0, 1.0),
    "rmsprop": Case(o.rmsprop(), 0.01),
    "rmsprop_inside": Case(o.rmsprop(0.9, inside=True)),
    "rmsprop_momentum": Case(o.rmsprop(mu=0.9), 0.01),
    "rmsprop_centered": Case(o.rmsprop(centered=True), 0.01),
    "rmsprop_centered_momentum": Case(o.rmsprop(centered=True, mu=0.9), 0.01),
    "adam": Case(o.adam(), 0.01),
    "adam_efficient": Case(o.adam_efficient, 0.01),
    "adam_l2": Case(o.l2(o.adam(), 1e-4), 0.01),
    "adam_low_beta2": Case(o.adam(beta2=0.9), 0.01),
    "adamw": Case(o.decoupled(o.adam(), 0.01), 0.01),
    "adamw_paper": Case(o.paper(o.adam(), 1e-5), 0.01),
    "amsgrad": Case(o.amsgrad, 0.01),
    "amsgrad_paper": Case(o.amsgrad_paper, 0.01),
    "qhadam": Case(o.qhadam(), 0.01),
    "demon_adam": Case(o.demon_adam, 0.01),
    "demon_adam_sum": Case(o.demon_adam_sum),
    "nadam": Case(o.nadam, 0.01),
    "radam": Case(o.radam, 0.01),
    "adabelief": Case(o.adabelief, 0.01),
    "yogi": Case(o.yogi, 0.01),
    "adan": Case(o.adan, 0.01),
    "ademamix": Case(o.decoupled(o.ademamix(), 0.01), 0.01),
    "ademamix_scheduled": Case(o.decoupled(o.ademamix(scheduled=True), 0.01), 0.01),
    "adopt": Case(o.adopt(clipped=True), 0.01),
    "adopt_plain": Case(o.adopt(clipped=False)),
    "lamb": Case(o.lamb, 0.01),
    "signsgd": Case(o.signum(0.0), 0.01),
    "signum": Case(o.signum(0.9), 0.01),
    "tiger": Case(o.decoupled(o.signum(0.945), 0.01), 0.01),
    "lion": Case(o.decoupled(o.lion, 0.01), 0.01),
    "cautious_adamw": Case(o.decoupled(o.cautious, 0.01), 0.01),
    "grams": Case(o.decoupled(o.grams, 0.01), 0.01),
    **_SIGN_FAMILY,
    "nos_powersign_clip": Case(
        o.found(lambda g, w, m, v: (np.exp(_sign(g) * _sign(m)) + np.clip(g, -1e-4, 1e-4)) * g)
    ),
    "nos_clip_m_exp_v": Case(o.found(lambda g, w, m, v: np.clip(m, -1e-4, 1e-4) * np.exp(v)), None),
    "nos_m_exp_v": Case(o.found(lambda g, w, m, v: m * np.exp(v)), None),
    "nos_powersign": Case(o.found(lambda g, w, m, v: g * np.exp(_sign(g) * _sign(m)))),
    "nos_m_exp_g2": Case(o.found(lambda g, w, m, v: m * np.exp(g * g)), None),
    "nos_adam_powersign": Case(
        o.found(lambda g, w, m, v: m / (np.sqrt(v) + 1e-8) * np.exp(_sign(g) * _sign(m))), 0.01
    ),
    "nos_adam_exp_m": Case(o.found(lambda g, w, m, v: m / (np.sqrt(v) + 1e-8) * np.exp(m)), None),
    "nos_g_clip_g2": Case(o.found(lambda g, w, m, v: g - np.clip(g * g, -1e-4, 1e-4))),
    "nos_exp_g_exp_m": Case(o.found(lambda g, w, m, v: np.exp(g) - np.exp(m)), None),
}
"""By name; rules with `drop` are in DROPPED."""

DROPPED = {
    "nos_drop3_powersign": (0.3, lambda g, w, m, v, d: d(g) * np.exp(_sign(g) * _sign(m))),
    "nos_drop_m_exp_g2": (0.1, lambda g, w, m, v, d: d(m) / (np.exp(g * g) + 1e-8)),
    "nos_drop1_powersign": (0.1, lambda g, w, m, v, d: d(g) * np.exp(_sign(g) * _sign(m))),
    "nos_rmsprop_drop_m": (
        0.3,
        lambda g, w, m, v, d: np.clip(g / (np.sqrt(v) + 1e-8), -1e-5, 1e-5) + d(m),
    ),
    "nos_g_drop_m": (0.3, lambda g, w, m, v, d: g + d(m)),
    "nos_drop_m_exp_g3": (0.1, lambda g, w, m, v, d: d(m) * np.exp(g**3)),
    "nos_drop_m_exp_w": (0.3, lambda g, w, m, v, d: d(m) * np.exp(1e-3 * w)),
}
"""By name: (p, u as a function of g, w, m, v and of what `drop` does)."""

GOLDEN: dict[str, tuple[str, float, dict]] = {
    "SGD lr1e-3": ("sgd", 1e-3, {}),
    "Momentum torch lr1e-3 mu.9": ("momentum", 1e-3, {}),
    "Momentum paper(lr inside)": ("momentum_inside", 1e-3, {}),
    "Nesterov torch": ("nesterov", 1e-3, {}),
    "AdaGrad lr.01 eps1e-10": ("adagrad", 0.01, {}),
    "Adadelta rho.9 eps1e-6": ("adadelta", 1.0, {}),
    "Adadelta rho.95 (paper)": ("adadelta", 1.0, {"rho": 0.95}),
    "RMSprop torch lr.01 a.99": ("rmsprop", 0.01, {}),
    "RMSprop seed lr.001 g.9 eps inside 1e-8": ("rmsprop_inside", 1e-3, {}),
    "RMSprop centered mom.9": ("rmsprop_centered_momentum", 1e-3, {}),
    "Adam raw lr.01": ("adam", 0.01, {}),
    "Adam efficient lr.01": ("adam_efficient", 0.01, {}),
    "Adam+L2 .1": ("adam_l2", 0.01, {"weight_decay": 0.1}),
    "AdamW paper lam=.001 (eta=1)": ("adamw_paper", 0.01, {"weight_decay": 0.001}),
    "AdamW paper lam=.001 + cosine(50)": (
        "adamw_paper", 0.01, {"weight_decay": 0.001, "schedule": "cosine"}
    ),
    "SGDW paper lr1e-3 mu.9 lam1e-4": ("sgdw_paper", 1e-3, {}),
    "SGDW paper + cosine(50)": ("sgdw_paper", 1e-3, {"schedule": "cosine"}),
    "SGDW torch-style(lr outside)+cosine(50)": (
        "sgdw", 1e-3, {"decay": "paper", "weight_decay": 1e-4, "schedule": "cosine"}
    ),
    "AMSGrad torch": ("amsgrad", 0.01, {}),
    "AMSGrad paper (no debias)": ("amsgrad_paper", 0.01, {}),
    "Adam beta2=.9": ("adam_low_beta2", 0.01, {}),
    "PowerSign base e lr1e-3": ("powersign", 1e-3, {}),
    "PowerSign-ld T=50": ("powersign_ld", 1e-3, {}),
    "PowerSign-cd T=50 n=.5": ("powersign_cd", 1e-3, {}),
    "PowerSign-rd T=50 n=2": ("powersign_rd", 1e-3, {"periods": 2.0}),
    "PowerSign base 2": ("powersign2", 1e-3, {}),
    "AddSign a1 lr1e-3": ("addsign", 1e-3, {}),
    "AddSign a2": ("addsign2", 1e-3, {}),
    "AddSign-ld T=50": ("addsign_ld", 1e-3, {}),
    "Demon SGDM b.9 T=50": ("demon_sgdm", 1e-3, {}),
    "Demon SGDM b.95 T=50": ("demon_sgdm", 1e-3, {"beta": 0.95}),
    "Demon Adam paper lr1e-3 b.9 T=50": ("demon_adam_sum", 1e-3, {}),
    "Demon Adam EMA lr.01 b.9 T=50": ("demon_adam", 0.01, {}),
    "QHM lr.01 b.999 nu.7": ("qhm", 0.01, {}),
    "QHAdam lr.01 b(.995,.999) nu(.7,1)": ("qhadam", 0.01, {}),
    "AggMo lr1e-3 (0,.9,.99)": ("aggmo", 1e-3, {}),
}  # fmt: skip
"""Key of tests/golden/optimizers.json → (name, lr, options): 50 steps on Beale's function."""
