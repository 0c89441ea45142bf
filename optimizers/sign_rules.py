"""Rules of signs: sign descent and its kin, PowerSign and AddSign, masks of agreement."""

from optimizers.entry import Entry

_NOS = "Bello, Zoph, Vasudevan & Le 2017, Neural Optimizer Search, arXiv:1709.07417, section 5"
_ADAM = "debias(ema(g, beta1)) / (sqrt(debias(ema(g^2, beta2))) + eps)"

_DECAYS = {
    "": ("", "without decay"),
    "_ld": ("ld * ", "linear decay"),
    "_cd": ("cd * ", "cyclic decay, half a cosine over the run"),
    "_rd": ("rd(periods) * ", "restart decay, 10 periods over the run"),
}


def _power_sign(suffix: str, base: str, factor: str, decay: str) -> Entry:
    declared = "periods = 10\n" if "periods" in factor else ""
    return Entry(
        name=f"powersign{suffix}",
        rule=f"{declared}{base}m = ema(g, beta)\nbase ^ ({factor}sign(g) * sign(m)) * g",
        lr=0.1,
        paper=_NOS,
        note=f"PowerSign, base {'2' if base else 'e'}, {decay}; steps count from 0 as in TF's "
        "reference. sign(0) = 0 leaves the gradient as it is.",
    )


def _add_sign(suffix: str, alpha: str, factor: str, decay: str) -> Entry:
    declared = "periods = 10\n" if "periods" in factor else ""
    return Entry(
        name=f"addsign{suffix}",
        rule=f"{declared}{alpha}m = ema(g, beta)\n(alpha + {factor}sign(g) * sign(m)) * g",
        lr=0.1,
        paper=_NOS,
        note=f"AddSign, alpha {'2' if alpha else '1'}, {decay}; steps count from 0 as in TF's "
        "reference.",
    )


_FAMILY = tuple(
    entry
    for decay, (factor, words) in _DECAYS.items()
    for entry in (
        _power_sign(decay, "", factor, words),
        _power_sign(f"2{decay}", "base = 2\n", factor, words),
        _add_sign(decay, "", factor, words),
        _add_sign(f"2{decay}", "alpha = 2\n", factor, words),
    )
)

ENTRIES = (
    *_FAMILY,
    Entry(
        name="signsgd",
        rule="sign(g)",
        lr=1e-3,
        paper="Bernstein, Wang, Azizzadenesheli & Anandkumar 2018, signSGD, arXiv:1802.04434",
        note="Without momentum, Algorithm 1. signum is the form with momentum.",
    ),
    Entry(
        name="signum",
        rule="sign(ema(g, beta))",
        lr=1e-3,
        paper="Bernstein, Wang, Azizzadenesheli & Anandkumar 2018, signSGD, arXiv:1802.04434, "
        "Alg. 2",
        note="Algorithm 2: the momentum is an average, beta m + (1 - beta) g, of whose scale "
        "nothing is left: a heavy-ball buffer gives the same signs. sign(0) = 0. The workers' "
        "majority vote is outside the rule.",
    ),
    Entry(
        name="tiger",
        rule="beta = 0.945\nsign(ema(g, beta))",
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper="Su 2023, Tiger: A Tight-fisted Optimizer (github.com/bojone/tiger)",
        note="Lion with beta1 = beta2.",
    ),
    Entry(
        name="lion",
        rule="beta2 = 0.99\nm = ema(g, beta2)\nsign(beta1 * prev(m) + (1 - beta1) * g)",
        lr=1e-4,
        decay="decoupled",
        weight_decay=0.01,
        paper="Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675, "
        "Alg. 2",
        note="Learning rates are 3 to 10 times smaller than AdamW's, decay as much larger.",
    ),
    Entry(
        name="cautious_adamw",
        rule=f"a = {_ADAM}\nmask = where(a * g, 1, 0)\na * mask / max(mean(mask), 1e-3)",
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper="Liang, Chen, Liu & Liu 2024, Cautious Optimizers, arXiv:2411.16085",
        note="As the authors' code: the mask is divided by its mean over the tensor, at least "
        "0.001.",
    ),
    Entry(
        name="grams",
        rule=f"a = {_ADAM}\nsign(g) * abs(a)",
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper="Cao, Li & Song 2024, Grams: Gradient Descent with Adaptive Momentum Scaling, "
        "arXiv:2412.17107",
        note="Adam's step, with torch's bias corrections and eps, gives the size and the present "
        "gradient the sign: sign(0) = 0 leaves a weight alone.",
    ),
)
