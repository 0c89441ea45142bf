"""Every named optimizer again, in NumPy from its paper: what the rules are tested against.

An oracle is `step(s, g, w, k) -> w`: `s` the tensor's own state (a dict, empty at first), `g` the
gradient, `w` the weights, `k` the constants of the step (t from 0, total T, lr, eta = the
schedule's multiplier; lr is the base learning rate times eta). Nothing here uses the language.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Array = np.ndarray
E = math.e


@dataclass(frozen=True)
class Step:
    t: int
    T: int
    lr: float
    eta: float = 1.0
    decay: float = 0.0


Oracle = Callable[[dict, Array, Array, Step], Array]


def _get(s: dict, name: str, like: Array) -> Array:
    return s.setdefault(name, np.zeros_like(like))


def _ema(s: dict, name: str, x: Array, beta: float) -> Array:
    s[name] = beta * _get(s, name, x) + (1 - beta) * x
    return s[name]


def _hats(s: dict, g: Array, n: int, beta1: float, beta2: float) -> tuple[Array, Array]:
    m, v = _ema(s, "m", g, beta1), _ema(s, "v", g * g, beta2)
    return m / (1 - beta1**n), v / (1 - beta2**n)


# Gradient descent and momentum.


def sgd(s, g, w, k):
    return w - k.lr * g


def momentum(mu=0.9, nesterov=False) -> Oracle:
    def step(s, g, w, k):
        s["b"] = g.copy() if k.t == 0 else mu * s["b"] + g
        return w - k.lr * (g + mu * s["b"] if nesterov else s["b"])

    return step


def momentum_inside(mu=0.9) -> Oracle:
    def step(s, g, w, k):
        s["b"] = mu * _get(s, "b", g) + k.lr * g
        return w - s["b"]

    return step


def scheduled_momentum(mu: Callable[[int, int], float]) -> Oracle:
    def step(s, g, w, k):
        s["b"] = mu(k.t, k.T) * _get(s, "b", g) + g
        return w - k.lr * s["b"]

    return step


def demon(beta, t, total):
    rest = 1 - t / total
    return beta * rest / ((1 - beta) + beta * rest)


def qhm(nu=0.7, beta=0.999) -> Oracle:
    def step(s, g, w, k):
        m = _ema(s, "m", g, beta)
        return w - k.lr * ((1 - nu) * g + nu * m)

    return step


def aggmo(mus=(0.0, 0.9, 0.99)) -> Oracle:
    def step(s, g, w, k):
        total = np.zeros_like(g)
        for i, mu in enumerate(mus):
            s[i] = mu * _get(s, i, g) - g
            total += s[i]
        return w + k.lr * total / len(mus)

    return step


def lars(mu=0.9, trust=0.001, strength=1e-4, eps=1e-8) -> Oracle:
    def step(s, g, w, k):
        length, slope = np.linalg.norm(w), np.linalg.norm(g)
        local = trust * length / (slope + strength * length + eps) if length * slope else 1.0
        s["b"] = mu * _get(s, "b", g) + local * (g + strength * w)
        return w - k.lr * s["b"]

    return step


# Scaled by the gradients' own size.


def adagrad(s, g, w, k):
    s["s"] = _get(s, "s", g) + g**2
    return w - k.lr * g / (np.sqrt(s["s"]) + 1e-10)


def adadelta(rho=0.9, eps=1e-6) -> Oracle:
    def step(s, g, w, k):
        size = _ema(s, "s", g**2, rho)
        delta = np.sqrt(_get(s, "d", g) + eps) / np.sqrt(size + eps) * g
        _ema(s, "d", delta**2, rho)
        return w - k.lr * delta

    return step


def rmsprop(rho=0.99, eps=1e-8, inside=False, centered=False, mu=0.0) -> Oracle:
    def step(s, g, w, k):
        v = _ema(s, "v", g**2, rho)
        if centered:
            v = v - _ema(s, "m", g, rho) ** 2
        d = g / (np.sqrt(v + eps) if inside else np.sqrt(v) + eps)
        s["b"] = mu * _get(s, "b", g) + d
        return w - k.lr * s["b"]

    return step


def adam(beta1=0.9, beta2=0.999, eps=1e-8) -> Oracle:
    def step(s, g, w, k):
        m, v = _hats(s, g, k.t + 1, beta1, beta2)
        return w - k.lr * m / (np.sqrt(v) + eps)

    return step


def adam_efficient(s, g, w, k):
    n = k.t + 1
    m, v = _ema(s, "m", g, 0.9), _ema(s, "v", g * g, 0.999)
    rate = k.lr * math.sqrt(1 - 0.999**n) / (1 - 0.9**n)
    return w - rate * m / (np.sqrt(v) + 1e-8)


def amsgrad(s, g, w, k):
    n = k.t + 1
    m, v = _ema(s, "m", g, 0.9), _ema(s, "v", g * g, 0.999)
    s["top"] = np.maximum(_get(s, "top", g), v)
    return w - k.lr * (m / (1 - 0.9**n)) / (np.sqrt(s["top"] / (1 - 0.999**n)) + 1e-8)


def amsgrad_paper(s, g, w, k):
    m, v = _ema(s, "m", g, 0.9), _ema(s, "v", g * g, 0.999)
    s["top"] = np.maximum(_get(s, "top", g), v)
    return w - k.lr * m / (np.sqrt(s["top"]) + 1e-8)


def qhadam(nu1=0.7, nu2=1.0, beta1=0.995, beta2=0.999, eps=1e-8) -> Oracle:
    def step(s, g, w, k):
        m, v = _hats(s, g, k.t + 1, beta1, beta2)
        top = (1 - nu1) * g + nu1 * m
        return w - k.lr * top / (np.sqrt((1 - nu2) * g**2 + nu2 * v) + eps)

    return step


def demon_adam(s, g, w, k):
    beta = demon(0.9, k.t, k.T)
    s["left"] = s.get("left", 1.0) * beta
    m, v = _ema(s, "m", g, beta), _ema(s, "v", g * g, 0.999)
    return w - k.lr * m / (1 - s["left"]) / (np.sqrt(v / (1 - 0.999 ** (k.t + 1))) + 1e-8)


def demon_adam_sum(s, g, w, k):
    s["m"] = g + demon(0.9, k.t, k.T) * _get(s, "m", g)
    return w - k.lr * s["m"] / np.sqrt(_ema(s, "v", g * g, 0.999) + 1e-8)


def nadam(s, g, w, k, psi=0.004):
    n = k.t + 1
    mu, following = (0.9 * (1 - 0.5 * 0.96 ** (i * psi)) for i in (n, n + 1))
    s["product"] = s.get("product", 1.0) * mu
    m, v = _ema(s, "m", g, 0.9), _ema(s, "v", g * g, 0.999)
    root = np.sqrt(v / (1 - 0.999**n)) + 1e-8
    w = w - k.lr * (1 - mu) / (1 - s["product"]) * g / root
    return w - k.lr * following / (1 - s["product"] * following) * m / root


def radam(s, g, w, k):
    n, limit = k.t + 1, 2 / (1 - 0.999) - 1
    m, v = _ema(s, "m", g, 0.9), _ema(s, "v", g * g, 0.999)
    m = m / (1 - 0.9**n)
    length = limit - 2 * n * 0.999**n / (1 - 0.999**n)
    if length <= 5:
        return w - k.lr * m
    r = math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
    return w - k.lr * m * r * math.sqrt(1 - 0.999**n) / (np.sqrt(v) + 1e-8)


def adabelief(s, g, w, k, eps=1e-16):
    n = k.t + 1
    m = _ema(s, "m", g, 0.9)
    s["s"] = 0.999 * _get(s, "s", g) + (1 - 0.999) * (g - m) ** 2 + eps
    return w - k.lr * (m / (1 - 0.9**n)) / (np.sqrt(s["s"] / (1 - 0.999**n)) + eps)


def yogi(s, g, w, k):
    n, square = k.t + 1, g * g
    m = _ema(s, "m", g, 0.9)
    v = s.setdefault("v", np.full_like(g, 1e-6))
    s["v"] = v - (1 - 0.999) * np.sign(v - square) * square
    return w - k.lr * (m / (1 - 0.9**n)) / (np.sqrt(s["v"] / (1 - 0.999**n)) + 1e-3)


def adan(s, g, w, k):
    n = k.t + 1
    d = g - s.get("g", g)
    s["g"] = g.copy()
    m, diff = _ema(s, "m", g, 0.98), _ema(s, "d", d, 0.92)
    size = _ema(s, "n", (g + 0.92 * d) ** 2, 0.99)
    top = m / (1 - 0.98**n) + 0.92 * diff / (1 - 0.92**n)
    return w - k.lr * top / (np.sqrt(size / (1 - 0.99**n)) + 1e-8)


def ademamix(scheduled=False, alpha=5.0, beta3=0.9999) -> Oracle:
    def step(s, g, w, k):
        a, b = alpha, beta3
        if scheduled:
            x = (k.t + 1) / k.T
            a = x * alpha
            start, end = math.log(0.9), math.log(beta3)
            b = min(math.exp(start * end / ((1 - x) * end + x * start)), beta3)
        m, v = _hats(s, g, k.t + 1, 0.9, 0.999)
        slow = _ema(s, "slow", g, b)
        return w - k.lr * (m + a * slow) / (np.sqrt(v) + 1e-8)

    return step


def adopt(clipped: bool, eps=1e-6) -> Oracle:
    def step(s, g, w, k):
        if k.t == 0:
            s["v"] = g * g
            return w
        n = g / np.maximum(np.sqrt(s["v"]), eps)
        if clipped:
            n = np.clip(n, -(k.t**0.25), k.t**0.25)
        s["v"] = 0.9999 * s["v"] + (1 - 0.9999) * g * g
        return w - k.lr * _ema(s, "m", n, 0.9)

    return step


def lamb(s, g, w, k, strength=0.01):
    m, v = _hats(s, g, k.t + 1, 0.9, 0.999)
    r = m / (np.sqrt(v) + 1e-6) + strength * w
    a, b = np.linalg.norm(w), np.linalg.norm(r)
    return w - k.lr * (a / b if a * b else 1.0) * r


# Signs.


def signum(beta: float) -> Oracle:
    def step(s, g, w, k):
        return w - k.lr * np.sign(_ema(s, "m", g, beta))

    return step


def lion(s, g, w, k):
    m = _get(s, "m", g)
    w = w - k.lr * np.sign(0.9 * m + (1 - 0.9) * g)
    _ema(s, "m", g, 0.99)
    return w


def cautious(s, g, w, k):
    m, v = _hats(s, g, k.t + 1, 0.9, 0.999)
    mask = (m * g > 0).astype(g.dtype)
    mask /= max(mask.mean(), 1e-3)
    return w - k.lr * m * mask / (np.sqrt(v) + 1e-8)


def grams(s, g, w, k):
    m, v = _hats(s, g, k.t + 1, 0.9, 0.999)
    return w - k.lr * np.sign(g) * np.abs(m / (np.sqrt(v) + 1e-8))


def ld(t, total):
    return max(0.0, 1 - t / total)


def cd(t, total):
    return 0.5 * (1 + math.cos(math.pi * t / total))


def rd(periods):
    return lambda t, total: 0.5 * (1 + math.cos(math.pi * ((t * periods) % total) / total))


def power_sign(base=E, f=lambda t, total: 1.0, beta=0.9) -> Oracle:
    def step(s, g, w, k):
        agreement = np.sign(g) * np.sign(_ema(s, "m", g, beta))
        return w - k.lr * np.exp(math.log(base) * f(k.t, k.T) * agreement) * g

    return step


def add_sign(alpha=1.0, f=lambda t, total: 1.0, beta=0.9) -> Oracle:
    def step(s, g, w, k):
        agreement = np.sign(g) * np.sign(_ema(s, "m", g, beta))
        return w - k.lr * (alpha + f(k.t, k.T) * agreement) * g

    return step


# Rules that a search found: u as a function of g, w and the corrected averages m, v.


def found(u: Callable[[Array, Array, Array, Array], Array]) -> Oracle:
    def step(s, g, w, k):
        m, v = _hats(s, g, k.t + 1, 0.9, 0.999)
        return w - k.lr * u(g, w, m, v)

    return step


# Weight decay beside any rule; it looks at the weights before the step.


def l2(oracle: Oracle, strength: float) -> Oracle:
    return lambda s, g, w, k: oracle(s, g + strength * w, w, k)


def decoupled(oracle: Oracle, strength: float) -> Oracle:
    return lambda s, g, w, k: oracle(s, g, w, k) - k.lr * strength * w


def paper(oracle: Oracle, strength: float) -> Oracle:
    return lambda s, g, w, k: oracle(s, g, w, k) - k.eta * strength * w


def run(
    oracle: Oracle,
    gradient: Callable[[list[Array]], list[Array]],
    start: list[Array],
    lr: float,
    steps: int = 50,
    total: int | None = None,
    etas: list[float] | None = None,
) -> list[Array]:
    """Train; return the weights after `steps` steps."""
    weights = [w.astype(np.float64).copy() for w in start]
    states: list[dict] = [{} for _ in weights]
    k = Step(0, total or steps, lr)
    for t in range(steps):
        eta = etas[t] if etas else 1.0
        k = replace(k, t=t, eta=eta, lr=lr * eta)
        grads = gradient(weights)
        weights = [oracle(s, g, w, k) for s, g, w in zip(states, grads, weights, strict=True)]
    return weights


def beale(weights: list[Array]) -> list[Array]:
    """Gradient of Beale's function, Σ (c_i − x + x y^i)²; minimum 0 at (3, 0.5)."""
    x, y = weights[0]
    terms = [
        (c - x + x * y**i, y**i - 1, i * x * y ** (i - 1))
        for i, c in ((1, 1.5), (2, 2.25), (3, 2.625))
    ]
    return [np.array([2 * sum(f * a for f, a, _ in terms), 2 * sum(f * b for f, _, b in terms)])]


def bowls(weights: list[Array]) -> list[Array]:
    """Gradient of two coupled bowls, a vector of 3 and a matrix 2 x 2, with a wave on each."""
    a, b = weights
    pull = 0.05 * (a.sum() - b.sum())
    first = np.array([0.9, 0.3, 0.05]) * (a - 0.4) + 0.2 * np.sin(3 * a) + pull
    second = np.array([[0.7, 0.02], [0.2, 0.5]]) * (b + 0.3) + 0.1 * np.cos(2 * b) - pull
    return [first, second]


BEALE_START = [np.array([1.0, 1.5])]
BOWLS_START = [np.array([1.0, -0.7, 0.35]), np.array([[0.45, -1.2], [0.8, -0.15]])]
