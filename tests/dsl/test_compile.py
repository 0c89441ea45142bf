"""Compiled rules against NumPy, operator by operator, and the two ways of calling them."""

import builtins
import copy
import keyword
import math
import pickle
import traceback

import numpy as np
import pytest
import torch

from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.operators import OPERATORS, Kind
from dsl.randomness import Draw, normal, uniform

STEPS = 6
G = np.random.default_rng(0).normal(size=(STEPS, 5))
W = np.random.default_rng(1).normal(size=(STEPS, 5))
GRID = np.arange(STEPS) / STEPS


def run(text: str, hyper: dict[str, float] | None = None, seed: int = 0) -> np.ndarray:
    """Step a rule along G and W; return its updates."""
    rule = compile_rule(text)
    state = rule.initial_state(torch.zeros(5, dtype=torch.float64))
    memory: dict[str, float] = {}
    updates = []
    for t in range(STEPS):
        scalars = rule.scalars(t, STEPS, {**rule.hyperparameters, **(hyper or {})}, memory)
        g, w = torch.tensor(G[t]), torch.tensor(W[t])
        updates.append(rule.update(g, w, state, scalars, Draw(seed, t)).numpy().copy())
        assert np.array_equal(g.numpy(), G[t]), "gradients are left alone"
        assert np.array_equal(w.numpy(), W[t]), "weights are left alone"
    return np.stack(updates)


def scan(step, start: float) -> np.ndarray:
    """Return s after each step of s = step(s, g)."""
    s, kept = np.full(5, start), []
    for g in G:
        s = step(s, g)
        kept.append(s)
    return np.stack(kept)


def draws(kind, index: int = 0) -> np.ndarray:
    like = torch.empty(5, dtype=torch.float64)
    return np.stack([kind(Draw(0, t), index, like).numpy() for t in range(STEPS)])


EMA = scan(lambda s, g: 0.9 * s + 0.1 * g, 0.0)
DEMON = 0.9 * (1 - GRID) / ((1 - 0.9) + 0.9 * (1 - GRID))
TIME = GRID[:, None]

ORACLES = {
    "add": ("g + w", G + W),
    "sub": ("g - w", G - W),
    "mul": ("g * w", G * W),
    "div": ("g / w", G / W),
    "pow": ("abs(w) ^ g", np.abs(W) ** G),
    "neg": ("-g", -G),
    "exp": ("exp(g)", np.exp(G)),
    "log": ("log(abs(g))", np.log(np.abs(G))),
    "sqrt": ("sqrt(abs(g))", np.sqrt(np.abs(G))),
    "abs": ("abs(g)", np.abs(G)),
    "sign": ("sign(g)", np.sign(G)),
    "square": ("square(g)", G**2),
    "clip": ("clip(g, 0.3)", np.clip(G, -0.3, 0.3)),
    "min": ("min(g, w)", np.minimum(G, W)),
    "max": ("max(0.1, g)", np.maximum(G, 0.1)),
    "where": ("where(w, g, 2)", np.where(W > 0, G, 2.0)),
    "norm": ("norm(g)", np.linalg.norm(G, axis=1, keepdims=True) + 0 * G),
    "mean": ("mean(g)", G.mean(1, keepdims=True) + 0 * G),
    "rms": ("g / rms(g)", G / np.sqrt((G**2).mean(1, keepdims=True))),
    "ema": ("ema(g, 0.9)", EMA),
    "trace": ("trace(g, 0.9)", scan(lambda s, g: 0.9 * s + g, 0.0)),
    "total": ("total(g)", np.cumsum(G, 0)),
    "runmax": ("runmax(g)", np.maximum.accumulate(G, 0)),
    "prev": ("prev(g)", np.vstack([np.zeros(5), G[:-1]])),
    "yogi": (
        "yogi(g ^ 2, 0.9)",
        scan(lambda s, g: s - 0.1 * np.sign(s - g**2) * g**2, 1e-6),
    ),
    "debias": (
        "debias(ema(g, 0.9))",
        EMA / (1 - 0.9 ** np.arange(1, STEPS + 1))[:, None],
    ),
    "drop": ("drop(g, 0.3)", np.where(draws(uniform) < 0.3, 0.0, G)),
    "noise": ("g + noise(0.1)", G + 0.1 * draws(normal)),
    "ld": ("g * ld", G * (1 - TIME)),
    "cd": ("g * cd(3)", G * 0.5 * (1 + np.cos(2 * np.pi * 3 * TIME))),
    "rd": (
        "g * rd(4)",
        G * 0.5 * (1 + np.cos(np.pi * np.mod(np.arange(STEPS) * 4, STEPS)[:, None] / STEPS)),
    ),
    "demon": ("g * demon(0.9)", G * DEMON[:, None]),
    "annealed_noise": ("g * annealed_noise", G * (1 + TIME * STEPS) ** (-0.55 / 2)),
    "product": ("g * product(ld)", G * np.cumprod(1 - GRID)[:, None]),
}


def test_every_operator_has_an_oracle() -> None:
    assert set(ORACLES) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_operator(name: str) -> None:
    text, expected = ORACLES[name]
    np.testing.assert_allclose(run(text), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prev(prev(g))", np.vstack([np.zeros((2, 5)), G[:-2]])),
        ("prev(2 * prev(g)) + g", G + 2 * np.vstack([np.zeros((2, 5)), G[:-2]])),
        ("where(g, 1, 0.1)", np.where(G > 0, 1.0, 0.1)),
        ("where(ld - 0.5, g, w)", np.where(1 - TIME > 0.5, G, W)),
        ("min(g, norm(w))", np.minimum(G, np.linalg.norm(W, axis=1, keepdims=True))),
        ("c = 1 / 3\nc * g + t - T", G / 3 + TIME * STEPS - STEPS),
        ("2 ^ -g", 2.0**-G),
        ("(-g) ^ 2 - -g ^ 2", G**2 + G**2),
        ("g - (w - g) / (g / w)", G - (W - G) / (G / W)),
        ("ema(norm(g), 0) * g", np.linalg.norm(G, axis=1, keepdims=True) * G),
        ("lambda = 0.5\ntorch = 2\nlambda * torch * g", G),
        ("m = ema(g, beta)\nm", EMA),
    ],
)
def test_combination(text: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(run(text), expected, rtol=1e-12, atol=1e-14)


def test_names_that_python_or_the_lines_use_are_names_like_others() -> None:
    """As hyperparameters, also where floats raise (1 / t at 0), and as lines."""
    pythons = {*dir(builtins), *keyword.kwlist, "__class__", "_"}
    for name in sorted((pythons | {"wide", "rows", "memory", "math"}) - set(OPERATORS)):
        for text in (
            "{0} = 0.5\ndebias(ema(g, {0} * ld)) * exp({0} * ld) + {0} ^ g",
            "{0} = 0.5\ng / (1 + exp(-{0} / t))",
            "{0} = ema(g, 0.5)\n{0} * sign({0}) + where(g, {0}, 0) * norm({0})",
        ):
            np.testing.assert_array_equal(run(text.format(name)), run(text.format("plain")), name)


def test_previous_update() -> None:
    np.testing.assert_allclose(run("g + mu * u"), scan(lambda s, g: g + 0.9 * s, 0.0), rtol=1e-12)


def test_changing_beta_is_corrected_by_the_true_product() -> None:
    s, left, expected = np.zeros(5), 1.0, []
    for g, beta in zip(G, DEMON, strict=True):
        s, left = beta * s + (1 - beta) * g, left * beta
        expected.append(s / (1 - left))
    np.testing.assert_allclose(run("debias(ema(g, demon(beta)))"), np.stack(expected), rtol=1e-12)


def test_time_stands_still_after_the_end() -> None:
    for text, last in (("ld * g", 0.0), ("rd(3) * g", 0.0), ("cd * g", 0.0), ("t * g", 10.0)):
        rule = compile_rule(text)
        assert rule.scalars(25, 10, {}) == rule.scalars(10, 10, {}) == (last,)


def test_equal_states_share_a_slot_and_names_come_from_the_author() -> None:
    rule = compile_rule("first = ema(g, beta)\nfirst + sign(ema(g, beta)) + ema(w, beta)")
    assert [slot.name for slot in rule.slots] == ["first", "ema_w"]
    assert [slot.initial for slot in compile_rule("runmax(g) + total(g)").slots] == [-math.inf, 0.0]


def test_says_what_it_uses() -> None:
    rule = compile_rule("adam * ld + drop(w, 0.1) * norm(g)")
    assert rule.uses_weights
    assert rule.uses_randomness
    assert rule.uses_reductions
    assert rule.uses_time
    assert not rule.recurrent
    plain = compile_rule("adam * t")
    assert not any([plain.uses_weights, plain.uses_randomness, plain.uses_reductions])
    assert not plain.uses_time, "t alone needs no total"
    assert compile_rule("debias(ema(g, ld))").recurrent
    assert dict(compile_rule("beta1 = 0.8\nadam").hyperparameters) == {
        "beta1": 0.8, "beta2": 0.999, "eps": 1e-8,
    }  # fmt: skip


def test_rows_of_a_population_equal_single_runs() -> None:
    text = "beta ^ (ld * sign(g)) * debias(ema(g, beta)) + clip(w, alpha) * sqrt(1 - beta)"
    rule = compile_rule(text)
    betas, alphas = [0.5, 0.9, 0.99], [0.1, 0.2, 3.0]
    hyper = {
        "beta": torch.tensor(betas, dtype=torch.float64)[:, None],
        "alpha": torch.tensor(alphas, dtype=torch.float64)[:, None],
    }
    state = [torch.zeros(3, 5, dtype=torch.float64) for _ in rule.slots]
    rows = []
    for t in range(STEPS):
        g = torch.tensor(G[t]).expand(3, 5)
        w = torch.tensor(W[t]).expand(3, 5)
        rows.append(rule.update(g, w, state, rule.scalars(t, STEPS, hyper)).clone())
    for row, (beta, alpha) in enumerate(zip(betas, alphas, strict=True)):
        alone = run(text, {"beta": beta, "alpha": alpha})
        np.testing.assert_allclose(torch.stack(rows)[:, row].numpy(), alone, rtol=1e-13)


def test_bound_reductions_and_draws_are_used() -> None:
    rule = compile_rule("norm(g) + drop(g, 0.5) + noise(1)")
    update = rule.bind(
        norm=lambda x: torch.full_like(x, 3.0),
        uniform=lambda draw, index, like: torch.ones_like(like),
        normal=lambda draw, index, like: torch.full_like(like, float(index)),
    )
    g = torch.tensor([1.0, -2.0])
    assert update(g, g, [], rule.scalars(0, 1, {}), None).tolist() == [5.0, 2.0]
    with pytest.raises(TypeError, match="allowed: norm, mean"):
        rule.bind(median=torch.median)


@pytest.mark.parametrize(
    ("text", "hyper", "expected"),
    [
        ("(1 / alpha) * g", 0.0, math.inf),
        ("(0 / alpha) * g", 0.0, math.nan),
        ("log(alpha) * g", 0.0, -math.inf),
        ("exp(1000 * alpha) * g", 1.0, math.inf),
        ("(alpha ^ 0.5) * g", -8.0, math.nan),
        ("sqrt(alpha) * g", -1.0, math.nan),
    ],
)
def test_scalars_are_ieee(text: str, hyper: float, expected: float) -> None:
    (alone,) = compile_rule(text).scalars(0, 1, {"alpha": hyper})
    tensor = torch.tensor(hyper, dtype=torch.float64)
    (row,) = compile_rule(text).scalars(0, 1, {"alpha": tensor})
    np.testing.assert_equal(alone, expected)
    np.testing.assert_equal(float(row), expected)


def test_dtypes_and_shapes_are_kept() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for text in ("adam", "where(g, 1, 2)", "norm(g)", "drop(g, 0.5) + noise(1)", "2 ^ g"):
            rule = compile_rule(text)
            g = torch.ones(2, 3, dtype=dtype)
            scalars = rule.scalars(0, 1, rule.hyperparameters)
            u = rule.update(g, g, rule.initial_state(g), scalars, Draw(0, 0))
            assert (u.dtype, u.shape) == (dtype, g.shape)


def test_a_number_that_is_dropped_is_not_rounded_to_float32() -> None:
    updates = run("drop(0.1, 0.5) + 1e-300 * g")
    assert updates.max() == 0.1
    assert abs(updates.min()) < 1e-200


def test_travels_and_is_shared() -> None:
    rule = compile_rule("adam")
    assert compile_rule("adam") is rule
    assert copy.deepcopy(rule) is rule
    assert pickle.loads(pickle.dumps(rule)) is rule


def test_tracebacks_show_the_generated_lines() -> None:
    rule = compile_rule("exp(g) * w")
    with pytest.raises(RuntimeError) as caught:
        rule.update(torch.ones(2), torch.ones(3), [], ())
    assert "torch.exp(g) * w" in "".join(traceback.format_exception(caught.value))


def test_refuses_what_the_checks_refuse() -> None:
    for text in ("w", "1", "ema(g, g)", "g +"):
        with pytest.raises(RuleError):
            compile_rule(text)


def test_kinds_are_all_used() -> None:
    assert {row.kind for row in OPERATORS.values()} == set(Kind)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("1 / 0 * g", math.inf),
        ("10 ^ 400 * g", math.inf),
        ("0 ^ (-1) * g", math.inf),
        ("(-2) ^ 0.5 * g", math.nan),
        ("abs((-2) ^ 0.5) * g", math.nan),
        ("max((-2) ^ 0.5, 1) * g", math.nan),
        ("a = -2\na ^ 0.5 * g", math.nan),
        ("2 ^ (2 ^ (2 ^ (2 ^ (2 ^ 2)))) * g", math.inf),
        ("cd(1 / 0) * g", math.nan),
        ("where(1 / 0, g, -g)", 1.0),
        ("where(1 / 0, product(ld), 2) * g", 1.0),
    ],
)
@pytest.mark.parametrize("total", [9.0, torch.full((2, 1), 9.0, dtype=torch.float64)])
def test_scalars_beyond_what_floats_say_are_infinite_or_no_number(
    text: str, first: float, total: float | torch.Tensor
) -> None:
    rule = compile_rule(text)
    scalars = rule.scalars(0, total, rule.hyperparameters, {})
    assert not any(isinstance(value, complex) for value in scalars)
    update = rule.update(torch.ones(2, 3), torch.ones(2, 3), [], scalars)
    expected = torch.full((2, 3), first)
    torch.testing.assert_close(update, expected, equal_nan=True, check_dtype=False)
