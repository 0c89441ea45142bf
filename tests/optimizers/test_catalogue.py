"""Each named optimizer is what its paper says."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from dsl.compile import compile_rule
from dsl.randomness import Draw, uniform
from optimizers.catalogue import CATALOGUE
from optimizers.rule import RuleOptimizer
from tests.optimizers import oracles
from tests.optimizers.cases import CASES, DROPPED, GOLDEN
from tests.optimizers.training import parameters, train_named

GOLDEN_NUMBERS = json.loads(
    (Path(__file__).parents[1] / "golden" / "optimizers.json").read_text(encoding="utf-8")
)
BEALE = (oracles.beale, oracles.BEALE_START)
BOWLS = (oracles.bowls, oracles.BOWLS_START)


def close(found, expected, rtol=1e-12):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


def test_every_entry_has_a_case():
    assert set(CATALOGUE) == set(CASES) | set(DROPPED)


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_entry_is_complete(name):
    entry = CATALOGUE[name]
    assert entry.name == name
    assert entry.lr > 0
    assert entry.paper
    assert entry.note.endswith("."), "which convention it is"
    assert (entry.decay == "none") == (entry.weight_decay == 0)
    assert dict(entry.hyperparameters) == compile_rule(entry.rule).hyperparameters


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.lr])
def test_equals_its_oracle_on_beale(name):
    case = CASES[name]
    expected = oracles.run(case.oracle, *BEALE, case.lr)
    assert np.abs(expected[0] - oracles.BEALE_START[0]).max() > 1e-9, "the case does not move"
    close(train_named(name, case.lr, *BEALE), expected)


@pytest.mark.parametrize("name", CASES)
def test_equals_its_oracle_on_two_tensors(name):
    case = CASES[name]
    expected = oracles.run(case.oracle, *BOWLS, case.bowls_lr)
    close(train_named(name, case.bowls_lr, *BOWLS), expected)


@pytest.mark.parametrize("name", CASES)
def test_equals_its_oracle_under_a_schedule(name):
    case = CASES[name]
    etas = [0.5 * (1 + np.cos(np.pi * t / 50)) for t in range(50)]
    expected = oracles.run(case.oracle, *BOWLS, case.bowls_lr, etas=etas)
    close(train_named(name, case.bowls_lr, *BOWLS, schedule="cosine"), expected)


@pytest.mark.parametrize(
    ("name", "options", "oracle", "lr"),
    [
        ("adopt", {"eps": 0.3}, oracles.adopt(True, eps=0.3), 0.01),
        ("adopt_plain", {"eps": 0.3}, oracles.adopt(False, eps=0.3), 0.01),
        ("adabelief", {"eps": 0.01}, partial(oracles.adabelief, eps=0.01), 0.01),
        ("powersign", {"beta": 0.2}, oracles.power_sign(beta=0.2), 0.9),
        ("addsign", {"beta": 0.2}, oracles.add_sign(beta=0.2), 0.9),
        ("nadam", {"psi": 0.1}, partial(oracles.nadam, psi=0.1), 0.01),
    ],
)
def test_values_whose_default_hardly_shows(name, options, oracle, lr):
    expected = oracles.run(oracle, *BOWLS, lr)
    assert np.abs(expected[0] - oracles.run(CASES[name].oracle, *BOWLS, lr)[0]).max() > 1e-6
    close(train_named(name, lr, *BOWLS, **options), expected)


@pytest.mark.parametrize("key", GOLDEN)
def test_golden_numbers(key):
    name, lr, options = GOLDEN[key]
    close(train_named(name, lr, *BEALE, **options), [np.array(GOLDEN_NUMBERS[key])])


def test_golden_numbers_of_sutskevers_weights():
    """v = mu v - lr grad(w + mu v), w = w + v: ours are the points w + mu v, and v is -lr trace."""
    params = parameters(oracles.BEALE_START)
    optimizer = RuleOptimizer.named("nesterov", params, 1e-3)
    for _ in range(50):
        params[0].grad = torch.from_numpy(oracles.beale([params[0].detach().numpy()])[0])
        optimizer.step()
    (velocity,) = (x for x in optimizer.state[params[0]].values() if isinstance(x, torch.Tensor))
    weights = params[0].detach() + 0.9 * 1e-3 * velocity
    close([weights.numpy()], [np.array(GOLDEN_NUMBERS["Nesterov Sutskever (w, not lookahead)"])])


def test_every_golden_number_is_used():
    elsewhere = {key for key in GOLDEN_NUMBERS if key.startswith(("TF7 ", "Nesterov Sutskever "))}
    assert set(GOLDEN_NUMBERS) == set(GOLDEN) | elsewhere


@pytest.mark.parametrize("name", DROPPED)
def test_rules_that_drop(name):
    """The average and the rest are exact, and each draw is the one of its address."""
    p, rule = DROPPED[name]
    steps, seed = 50, 7
    draws = [0]

    def oracle_with_draws(first):
        def step(s, g, w, k):
            draw = uniform(Draw(seed, k.t, first), 0, torch.zeros(g.shape, dtype=torch.float64))
            kept = draw.numpy() >= p
            draws[0] += int((~kept).sum())
            m, v = oracles._hats(s, g, k.t + 1, 0.9, 0.999)
            return w - k.lr * rule(g, w, m, v, lambda x: np.where(kept, x, 0.0))

        return step

    weights, states = [w.copy() for w in oracles.BOWLS_START], [{}, {}]
    for t in range(steps):
        grads = oracles.bowls(weights)
        weights = [
            oracle_with_draws(first)(s, g, w, oracles.Step(t, steps, 0.01))
            for first, s, g, w in zip((0, 3), states, grads, weights, strict=True)
        ]
    close(train_named(name, 0.01, *BOWLS, steps=steps, seed=seed), weights)
    # 350 draws: 5 standard deviations to each side, a false alarm in 2 million.
    assert abs(draws[0] - 350 * p) < 5 * (350 * p * (1 - p)) ** 0.5


@pytest.mark.parametrize(
    "name", ["PowerSign plain", "PowerSign ld10", "AddSign plain", "AddSign ld10"]
)
def test_sign_vectors_of_the_published_code(name):
    """x = 1, g = +0.1 four times, then -0.1 three times, lr 0.1, decay over 10 steps."""
    rule = name.split()[0].lower() + ("_ld" if name.endswith("ld10") else "")
    slopes = iter([0.1] * 4 + [-0.1] * 3)
    points = []

    def gradient(weights):
        points.append(weights[0].item())
        return [np.array([next(slopes)])]

    end = train_named(rule, 0.1, gradient, [np.array([1.0])], steps=7, total_steps=10)
    np.testing.assert_allclose(
        [*points[1:], end[0].item()], GOLDEN_NUMBERS[f"TF7 {name}"], atol=1e-10, rtol=0
    )


@pytest.mark.parametrize(
    ("step", "point", "loss"),
    [
        (30, (0.7371867, 1.22939503), 20.299015115677488),
        (60, (0.60591868, 1.04849877), 15.060862617226),
        (300, (1.70612102, 0.26732981), 1.411090259141672),
        (1140, (2.67740575, 0.40454843), 0.024592232516435324),
        (2940, None, 2.357215999177251e-05),
        (3000, (2.98972707, 0.49739863), 1.7128251223169396e-05),
    ],
)
def test_published_trajectory_of_efficient_adam(step, point, loss):
    (w,) = train_named("adam_efficient", 0.01, *BEALE, steps=step)
    x, y = w
    f = sum((c - x + x * y**i) ** 2 for i, c in ((1, 1.5), (2, 2.25), (3, 2.625)))
    if point:
        np.testing.assert_allclose(w, point, atol=1e-8)
    assert f == pytest.approx(loss, rel=1e-12)
