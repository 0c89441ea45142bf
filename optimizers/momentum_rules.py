"""Rules of gradient descent and momentum: one learning rate for all weights."""

from optimizers.entry import Entry

_SGDW = "Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101, Alg. 1"
_AT_ZERO = (
    " At eta_t = 0 itself the weights stand still, where the printed form still moves by mu times "
    "the buffer: let schedules end above 0."
)
_DEMON = "Chen, Wolfe, Li & Kyrillidis 2019, Demon: Improved Neural Network Training with Momentum"

ENTRIES = (
    Entry(
        name="sgd",
        rule="g",
        lr=1e-3,
        paper="Robbins & Monro 1951, A Stochastic Approximation Method",
        note="As torch.optim.SGD without momentum.",
    ),
    Entry(
        name="momentum",
        rule="trace(g, mu)",
        lr=1e-3,
        paper="Polyak 1964, Some methods of speeding up the convergence of iteration methods",
        note="Heavy ball as torch.optim.SGD(momentum=mu): the learning rate is outside the buffer, "
        "without dampening. momentum_inside has it inside.",
    ),
    Entry(
        name="momentum_inside",
        rule="eta = 1\ntrace(eta * g, mu) / max(eta, 1e-12)",
        lr=1e-3,
        paper="Polyak 1964, Some methods of speeding up the convergence of iteration methods",
        note="Heavy ball with the learning rate inside the buffer, v = mu v + lr_t g; w -= v. "
        "Equal to momentum at a constant learning rate; they differ under a schedule. "
        f"eta is the schedule's multiplier, given by the optimizer at each step.{_AT_ZERO}",
    ),
    Entry(
        name="nesterov",
        rule="g + mu * trace(g, mu)",
        lr=1e-3,
        paper="Nesterov 1983; Sutskever, Martens, Dahl & Hinton 2013, ICML, section 2",
        note="As torch.optim.SGD(nesterov=True): the weights are Sutskever's look-ahead point.",
    ),
    Entry(
        name="sgdw",
        rule="trace(g, mu)",
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper=_SGDW,
        note="Learning rate outside the buffer as in the authors' code; decay lr_t·λ as torch's "
        "AdamW. sgdw_paper is Algorithm 1 as printed.",
    ),
    Entry(
        name="sgdw_paper",
        rule="eta = 1\ntrace(eta * g, mu) / max(eta, 1e-12)",
        lr=1e-3,
        decay="paper",
        weight_decay=1e-4,
        paper=_SGDW,
        note="Algorithm 1 as printed: learning rate inside the buffer, m = mu m + eta_t lr g, and "
        f"decay eta_t·λ without the learning rate. eta is the schedule's multiplier.{_AT_ZERO}",
    ),
    Entry(
        name="qhm",
        rule="beta = 0.999\n(1 - nu) * g + nu * ema(g, beta)",
        lr=1.0,
        paper="Ma & Yarats 2019, Quasi-hyperbolic momentum and Adam, arXiv:1810.06801, eq. 3-4",
        note="The average is an EMA without bias correction, as in the paper: learning rates are "
        "1/(1 - beta) times those of momentum. nu = 0 is SGD, nu = 1 momentum, nu = beta Nesterov.",
    ),
    Entry(
        name="aggmo",
        rule="mu1 = 0\nmu2 = 0.9\nmu3 = 0.99\n(trace(g, mu1) + trace(g, mu2) + trace(g, mu3)) / 3",
        lr=0.1,
        paper="Lucas, Sun, Zemel & Grosse 2019, Aggregated Momentum, arXiv:1804.00325",
        note="K = 3 velocities, mu_i = 1 - 0.1^i for i = 0, 1, 2.",
    ),
    Entry(
        name="demon_sgdm",
        rule="trace(g, demon(beta))",
        lr=0.1,
        paper=f"{_DEMON}, arXiv:1910.04952, Alg. 1",
        note="beta falls from its first value to 0 over the T steps of the run.",
    ),
    Entry(
        name="momentum_linear",
        rule="trace(g, mu * ld)",
        lr=0.1,
        paper=f"{_DEMON}, arXiv:1910.04952, section 4 (momentum schedules compared)",
        note="Momentum falls linearly to 0.",
    ),
    Entry(
        name="momentum_cosine",
        rule="trace(g, mu * cd)",
        lr=0.1,
        paper=f"{_DEMON}, arXiv:1910.04952, section 4 (momentum schedules compared)",
        note="Momentum falls to 0 along half a cosine.",
    ),
    Entry(
        name="momentum_exponential",
        rule="k = 5\ntrace(g, mu * exp(-k * t / T))",
        lr=0.1,
        paper=f"{_DEMON}, arXiv:1910.04952, section 4 (momentum schedules compared)",
        note="Momentum falls exponentially, by e^-k over the run; k is free in the paper.",
    ),
    Entry(
        name="lars",
        rule="trust = 0.001\n"
        "strength = 1e-4\n"
        "d = g + strength * w\n"
        "ratio = trust * norm(w) / (norm(g) + strength * norm(w) + eps)\n"
        "trace(where(norm(w), where(norm(g), ratio, 1), 1) * d, mu)",
        lr=0.1,
        paper="You, Gitman & Ginsburg 2017, Large Batch Training of Convolutional Networks, "
        "arXiv:1708.03888, Alg. 1",
        note="One layer is one tensor. The L2 term is in the rule (strength), for the trust ratio "
        "needs it; the global learning rate is outside the buffer, and a tensor of zeros gets 1.",
    ),
)
