"""Rules that Neural Optimizer Search found (Bello et al. 2017).

Sugar of the language: `m`, `v` and `y` are the bias-corrected averages of g, g² and g³, `adam`
and `rmsprop` the directions of those optimizers without a learning rate. PowerSign itself,
g·e^(sign g · sign m), is `powersign`.
"""

from optimizers.entry import Entry

_NOS = "Bello, Zoph, Vasudevan & Le 2017, Neural Optimizer Search, arXiv:1709.07417"

_RULES = {
    "nos_powersign_clip": "(exp(sign(g) * sign(m)) + clip(g, 1e-4)) * g",
    "nos_clip_m_exp_v": "clip(m, 1e-4) * exp(v)",
    "nos_m_exp_v": "m * exp(v)",
    "nos_powersign": "g * exp(sign(g) * sign(m))",
    "nos_drop3_powersign": "drop(g, 0.3) * exp(sign(g) * sign(m))",
    "nos_m_exp_g2": "m * exp(g^2)",
    "nos_drop_m_exp_g2": "drop(m, 0.1) / (exp(g^2) + eps)",
    "nos_drop1_powersign": "drop(g, 0.1) * exp(sign(g) * sign(m))",
    "nos_rmsprop_drop_m": "clip(rmsprop, 1e-5) + drop(m, 0.3)",
    "nos_adam_powersign": "adam * exp(sign(g) * sign(m))",
    "nos_adam_exp_m": "adam * exp(m)",
    "nos_g_drop_m": "g + drop(m, 0.3)",
    "nos_drop_m_exp_g3": "drop(m, 0.1) * exp(g^3)",
    "nos_g_clip_g2": "g - clip(g^2, 1e-4)",
    "nos_exp_g_exp_m": "exp(g) - exp(m)",
    "nos_drop_m_exp_w": "drop(m, 0.3) * exp(1e-3 * w)",
}

ENTRIES = tuple(
    Entry(
        name=name,
        rule=rule,
        lr=0.1,
        paper=_NOS,
        note="Found by the search; the paper gives each rule its best of seven learning rates, "
        "10^-5 … 10^1. drop sets to 0 without rescaling.",
    )
    for name, rule in _RULES.items()
)
