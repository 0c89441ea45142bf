"""Rules that scale each weight by its own gradients: Adagrad to Adam and its kin."""

from optimizers.entry import Entry

_ADAM_PAPER = "Kingma & Ba 2015, Adam, arXiv:1412.6980"
_ADAMW_PAPER = "Loshchilov & Hutter 2019, Decoupled Weight Decay, arXiv:1711.05101, Alg. 2"
_RMSPROP_PAPER = "Tieleman & Hinton 2012, Neural Networks for Machine Learning, lecture 6.5"
_AMSGRAD_PAPER = "Reddi, Kale & Kumar 2018, On the Convergence of Adam and Beyond, arXiv:1904.09237"
_ADAM = "debias(ema(g, beta1)) / (sqrt(debias(ema(g^2, beta2))) + eps)"
_CENTRED = "sqrt(max(ema(g^2, rho) - ema(g, rho)^2, 0)) + eps"

ENTRIES = (
    Entry(
        name="adagrad",
        rule="eps = 1e-10\ng / (sqrt(total(g^2)) + eps)",
        lr=0.01,
        paper="Duchi, Hazan & Singer 2011, JMLR 12:2121",
        note="As torch.optim.Adagrad with lr_decay = 0 and the accumulator starting at 0.",
    ),
    Entry(
        name="adadelta",
        rule="eps = 1e-6\nsqrt(ema(u^2, rho) + eps) / sqrt(ema(g^2, rho) + eps) * g",
        lr=1.0,
        paper="Zeiler 2012, ADADELTA, arXiv:1212.5701, Alg. 1",
        note="u is the previous update, so its average ends one step back, as in the paper. "
        "rho = 0.9 is torch's default; the paper uses 0.95.",
    ),
    Entry(
        name="rmsprop",
        rule="rho = 0.99\ng / (sqrt(ema(g^2, rho)) + eps)",
        lr=0.01,
        paper=_RMSPROP_PAPER,
        note="As torch.optim.RMSprop (its alpha is rho): eps outside the root, average from 0.",
    ),
    Entry(
        name="rmsprop_inside",
        rule="g / sqrt(ema(g^2, rho) + eps)",
        lr=1e-3,
        paper=_RMSPROP_PAPER,
        note="rho = 0.9, eps inside the root, as in Ruder's overview; the average starts from 0 "
        "(TensorFlow's starts from 1).",
    ),
    Entry(
        name="rmsprop_momentum",
        rule="rho = 0.99\ntrace(g / (sqrt(ema(g^2, rho)) + eps), mu)",
        lr=0.01,
        paper=_RMSPROP_PAPER,
        note="As torch.optim.RMSprop(momentum=mu): momentum on the normalised gradient.",
    ),
    Entry(
        name="rmsprop_centered",
        rule=f"rho = 0.99\ng / ({_CENTRED})",
        lr=0.01,
        paper="Graves 2013, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850, "
        "eq. 38-40",
        note="As torch.optim.RMSprop(centered=True); a variance that rounding made negative is 0.",
    ),
    Entry(
        name="rmsprop_centered_momentum",
        rule=f"rho = 0.99\ntrace(g / ({_CENTRED}), mu)",
        lr=0.01,
        paper="Graves 2013, Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850, "
        "eq. 38-41",
        note="As torch.optim.RMSprop(centered=True, momentum=mu).",
    ),
    Entry(
        name="adam",
        rule=_ADAM,
        lr=1e-3,
        paper=f"{_ADAM_PAPER}, Alg. 1",
        note="Algorithm 1, which is also torch.optim.Adam: eps is added to the corrected root.",
    ),
    Entry(
        name="adam_efficient",
        rule="debias(ema(g, beta1))"
        " / (sqrt(debias(ema(g^2, beta2))) + eps / sqrt(1 - beta2^(t + 1)))",
        lr=1e-3,
        paper=f"{_ADAM_PAPER}, end of section 2",
        note="The order of computation that the paper calls more efficient: lr_t = lr √c2/c1, "
        "w -= lr_t m/(√v + eps), written with both hats, which divides eps by √c2.",
    ),
    Entry(
        name="adam_l2",
        rule=_ADAM,
        lr=1e-3,
        decay="l2",
        weight_decay=1e-4,
        paper=f"{_ADAMW_PAPER} (its L2 line)",
        note="torch.optim.Adam(weight_decay=λ): λw joins the gradient before both averages.",
    ),
    Entry(
        name="adam_low_beta2",
        rule=f"beta2 = 0.9\n{_ADAM}",
        lr=1e-3,
        paper="Dozat & Manning 2017, arXiv:1611.01734; Laine & Aila 2017, arXiv:1610.02242",
        note="Adam with a short memory of the squared gradient; 0.99 is the other usual value.",
    ),
    Entry(
        name="adamw",
        rule=_ADAM,
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper=_ADAMW_PAPER,
        note="torch.optim.AdamW: decay lr_t·λ. adamw_paper decays by eta_t·λ.",
    ),
    Entry(
        name="adamw_paper",
        rule=_ADAM,
        lr=1e-3,
        decay="paper",
        weight_decay=1e-5,
        paper=_ADAMW_PAPER,
        note="Algorithm 2 as printed: decay eta_t·λ with eta_t the schedule's multiplier alone, so "
        "that changing the learning rate leaves the decay. Equal to adamw with λ/lr.",
    ),
    Entry(
        name="amsgrad",
        rule="debias(ema(g, beta1)) / (sqrt(runmax(ema(g^2, beta2)) / (1 - beta2^(t + 1))) + eps)",
        lr=1e-3,
        paper=f"{_AMSGRAD_PAPER}, with Adam's bias correction",
        note="As torch.optim.Adam(amsgrad=True): the maximum is of the uncorrected average, the "
        "correction comes after. Not interchangeable with amsgrad_paper.",
    ),
    Entry(
        name="amsgrad_paper",
        rule="ema(g, beta1) / (sqrt(runmax(ema(g^2, beta2))) + eps)",
        lr=1e-3,
        paper=f"{_AMSGRAD_PAPER}, Alg. 2",
        note="As printed, without bias correction, with eps against division by zero.",
    ),
    Entry(
        name="qhadam",
        rule="beta1 = 0.995\nnu1 = 0.7\nnu2 = 1\n"
        "((1 - nu1) * g + nu1 * debias(ema(g, beta1)))"
        " / (sqrt((1 - nu2) * g^2 + nu2 * debias(ema(g^2, beta2))) + eps)",
        lr=1e-3,
        paper="Ma & Yarats 2019, Quasi-hyperbolic momentum and Adam, arXiv:1810.06801, section 4",
        note="Defaults recommended by the paper; nu1 = nu2 = 1 is Adam.",
    ),
    Entry(
        name="demon_adam",
        rule="debias(ema(g, demon(beta1))) / (sqrt(debias(ema(g^2, beta2))) + eps)",
        lr=1e-3,
        paper="Chen, Wolfe, Li & Kyrillidis 2019, Demon, arXiv:1910.04952, as an average",
        note="The first moment is an average, corrected by the true product of its betas. "
        "demon_adam_sum is the paper's form, whose steps are up to 1/(1 - beta1) times longer.",
    ),
    Entry(
        name="demon_adam_sum",
        rule="trace(g, demon(beta1)) / sqrt(ema(g^2, beta2) + eps)",
        lr=1e-4,
        paper="Chen, Wolfe, Li & Kyrillidis 2019, Demon, arXiv:1910.04952, Alg. 2",
        note="The first moment is a sum, m = g + beta_t m, so that the learning rate falls by "
        "itself from lr/(1 - beta1) to lr: tune it apart from demon_adam's. Without bias "
        "correction (the paper's hats are ambiguous) and with eps inside the root.",
    ),
    Entry(
        name="nadam",
        rule="psi = 0.004\n"
        "mu = beta1 * (1 - 0.5 * 0.96^((t + 1) * psi))\n"
        "following = beta1 * (1 - 0.5 * 0.96^((t + 2) * psi))\n"
        "left = product(mu)\n"
        "top = (1 - mu) / (1 - left) * g + following / (1 - left * following) * ema(g, beta1)\n"
        "top / (sqrt(debias(ema(g^2, beta2))) + eps)",
        lr=2e-3,
        paper="Dozat 2016, Incorporating Nesterov Momentum into Adam, ICLR workshop",
        note="As torch.optim.NAdam: momentum warms up along its own schedule mu_t, whose decay "
        "psi is torch's momentum_decay, and is corrected by the product of the mu_t.",
    ),
    Entry(
        name="radam",
        rule="b = beta2^(t + 1)\n"
        "limit = 2 / (1 - beta2) - 1\n"
        "r = limit - 2 * (t + 1) * b / (1 - b)\n"
        "rectified = sqrt(max((r - 4) * (r - 2) * limit / ((limit - 4) * (limit - 2) * r), 0))\n"
        "scale = rectified / (sqrt(debias(ema(g^2, beta2))) + eps / sqrt(1 - b))\n"
        "where(r - 5, scale, 1) * debias(ema(g, beta1))",
        lr=1e-3,
        paper="Liu et al. 2020, On the Variance of the Adaptive Learning Rate, arXiv:1908.03265, "
        "Alg. 2",
        note="As torch.optim.RAdam: rectified above length 5, eps on the uncorrected root.",
    ),
    Entry(
        name="adabelief",
        rule="eps = 1e-16\n"
        "s = debias(ema((g - ema(g, beta1))^2 + eps / (1 - beta2), beta2))\n"
        "debias(ema(g, beta1)) / (sqrt(s) + eps)",
        lr=1e-3,
        paper="Zhuang et al. 2020, AdaBelief Optimizer, arXiv:2010.07468, Alg. 2",
        note="eps is added to the average at every step, as in the paper, and to the root; the "
        "authors' PyTorch default is 1e-16.",
    ),
    Entry(
        name="yogi",
        rule="eps = 1e-3\n"
        "debias(ema(g, beta1)) / (sqrt(yogi(g^2, beta2) / (1 - beta2^(t + 1))) + eps)",
        lr=0.01,
        paper="Zaheer, Reddi, Sachan, Kale & Kumar 2018, Adaptive Methods for Nonconvex "
        "Optimization, NeurIPS, Alg. 2",
        note="With Adam's bias correction and the accumulator starting from 1e-6, as in its usual "
        "implementations; the printed algorithm corrects nothing.",
    ),
    Entry(
        name="adan",
        rule="beta1 = 0.98\nbeta2 = 0.92\nbeta3 = 0.99\n"
        "d = min(t, 1) * (g - prev(g))\n"
        "n = debias(ema((g + beta2 * d)^2, beta3))\n"
        "(debias(ema(g, beta1)) + beta2 * debias(ema(d, beta2))) / (sqrt(n) + eps)",
        lr=1e-3,
        paper="Xie, Zhou, Li, Lin & Yan 2022, Adan, arXiv:2208.06677, Alg. 1",
        note="Betas are the weights kept (the paper's 1 - beta); bias-corrected as in the authors' "
        "code, whose no_prox decay is `decoupled` here.",
    ),
    Entry(
        name="ademamix",
        rule="beta3 = 0.9999\nalpha = 5\n"
        "(debias(ema(g, beta1)) + alpha * ema(g, beta3))"
        " / (sqrt(debias(ema(g^2, beta2))) + eps)",
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper="Pagliardini, Ablin & Grangier 2024, The AdEMAMix Optimizer, arXiv:2409.03137",
        note="Without the warm-up of alpha and beta3; ademamix_scheduled has both over the run.",
    ),
    Entry(
        name="ademamix_scheduled",
        rule="beta3 = 0.9999\nalpha = 5\n"
        "x = min((t + 1) / T, 1)\n"
        "slow = log(beta1) * log(beta3) / ((1 - x) * log(beta3) + x * log(beta1))\n"
        "(debias(ema(g, beta1)) + x * alpha * ema(g, min(exp(slow), beta3)))"
        " / (sqrt(debias(ema(g^2, beta2))) + eps)",
        lr=1e-3,
        decay="decoupled",
        weight_decay=0.01,
        paper="Pagliardini, Ablin & Grangier 2024, The AdEMAMix Optimizer, arXiv:2409.03137, "
        "Alg. 1",
        note="alpha grows linearly and beta3 from beta1 along the paper's curve, both over all T "
        "steps, counted from 1.",
    ),
    Entry(
        name="adopt",
        rule="beta2 = 0.9999\neps = 1e-6\n"
        "v = ema(g^2, where(t, beta2, 0))\n"
        "n = min(t, 1) * g / max(sqrt(prev(v)), eps)\n"
        "ema(clip(n, t^0.25), beta1)",
        lr=1e-3,
        paper="Taniguchi et al. 2024, ADOPT, arXiv:2411.02853, Alg. 2",
        note="The first step only sets v to g². Clipped at t^(1/4) as the authors recommend; "
        "adopt_plain is Algorithm 1.",
    ),
    Entry(
        name="adopt_plain",
        rule="beta2 = 0.9999\neps = 1e-6\n"
        "v = ema(g^2, where(t, beta2, 0))\n"
        "ema(min(t, 1) * g / max(sqrt(prev(v)), eps), beta1)",
        lr=1e-3,
        paper="Taniguchi et al. 2024, ADOPT, arXiv:2411.02853, Alg. 1",
        note="The first step only sets v to g²; the denominator is the average one step back.",
    ),
    Entry(
        name="lamb",
        rule="eps = 1e-6\nstrength = 0.01\n"
        f"r = {_ADAM} + strength * w\n"
        "where(norm(w), where(norm(r), norm(w) / norm(r), 1), 1) * r",
        lr=1e-3,
        paper="You et al. 2020, Large Batch Optimization for Deep Learning, arXiv:1904.00962, "
        "Alg. 2",
        note="With bias correction and phi(x) = x. Decay is in the rule (strength), for the trust "
        "ratio needs it.",
    ),
)
