"""The optax file steps as the torch file does, and the draws are the same numbers."""

import types
from typing import Any

import numpy as np
import pytest
import torch

from dsl.errors import RuleError
from dsl.export import to_torch
from dsl.optax_export import to_optax
from optimizers.catalogue import CATALOGUE
from tests.dsl.test_export import NAMES

jax = pytest.importorskip("jax", reason="the optax extra is not installed")
optax = pytest.importorskip("optax", reason="the optax extra is not installed")

STEPS = 12
SHAPES = [(4, 3), (5,), ()]
MORE = [
    "prev(g) + prev(prev(g)) + g",
    "u / 2 + g",
    "2 ^ (g * ld) * mean(g) + g",
    "clip(ld, g) + g",
    "where(ld - 0.5, g, -g) * rms(g)",
    "runmax(g) + total(g)",
    "norm(g)",
    "g + noise(annealed_noise)",
    "lambda = 0.5\nstep = 2\nlambda * step * g",
]


def load(source: str) -> Any:
    module = types.ModuleType("exported_rule")
    exec(compile(source, "exported_rule.py", "exec"), module.__dict__)
    return module.__dict__["Rule"]


@pytest.fixture(autouse=True)
def _double() -> Any:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def both(rule: str, decay: Any, dtype: torch.dtype, lr: float = 0.01) -> tuple[Any, Any]:
    """Train on the same gradients with both files; return the weights after each step."""
    given: dict[str, Any] = {"lr": lr, "decay": decay}
    given |= {"weight_decay": 0.1} if decay != "none" else {}
    source = to_torch(rule, **given)
    timed = {"total_steps": STEPS} if "total_steps" in source else {}
    generator = np.random.default_rng(0)
    start = [generator.normal(size=shape) for shape in SHAPES]
    params = [torch.tensor(w, dtype=dtype, requires_grad=True) for w in start]
    theirs = load(source)(params, **timed)
    scheduler = torch.optim.lr_scheduler.LambdaLR(theirs, lambda t: 1.0 / (1 + t))
    ours = load(to_optax(rule, **given))(lambda t: lr / (1 + t), **timed)
    weights = [jax.numpy.asarray(p.detach().numpy()) for p in params]
    state, step = ours.init(weights), jax.jit(ours.update)
    found, wanted = [], []
    for _ in range(STEPS):
        gradients = [generator.normal(size=shape) for shape in SHAPES]
        for p, g in zip(params, gradients, strict=True):
            p.grad = torch.tensor(g, dtype=dtype)
        theirs.step()
        scheduler.step()
        updates, state = step([jax.numpy.asarray(p.grad.numpy()) for p in params], state, weights)
        weights = optax.apply_updates(weights, updates)
        found.append(np.concatenate([np.ravel(w) for w in weights]))
        wanted.append(torch.cat([p.detach().flatten() for p in params]).numpy().copy())
    return np.stack(found), np.stack(wanted)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_steps_as_the_torch_file_does(name: str) -> None:
    entry = CATALOGUE[name]
    found, wanted = both(entry.rule, entry.decay, torch.float64, entry.lr)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", MORE)
def test_other_operators(rule: str) -> None:
    found, wanted = both(rule, "paper", torch.float64)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("rule", ["clip(g, 1e39) + g * 1e-46", "ema(g, 0.5) + min(g, 1e30 * 1e30)"])
def test_numbers_beyond_float32_are_infinite_or_nothing(rule: str) -> None:
    found, wanted = both(rule, "none", torch.float32)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("line", ["{} = ema(g, 0.9)", "{} = 0.5"])
def test_any_name_of_the_language_steps_in_a_file(line: str) -> None:
    for i in range(0, len(NAMES), 4):
        names = (NAMES * 2)[i : i + 4]
        update = f"({' + '.join(names)}) * debias(ema(g, 0.3)) * ld"
        rule = "\n".join([*map(line.format, names), update])
        source = to_torch(rule, lr=0.1)
        params = [torch.ones(2, requires_grad=True)]
        params[0].grad = torch.full((2,), 0.3)
        load(source)(params, total_steps=3).step()
        optimizer = load(to_optax(rule, lr=0.1))(total_steps=3)
        w, g = {"a": np.ones(2, "float32")}, {"a": np.full(2, 0.3, "float32")}
        change, _ = optimizer.update(g, optimizer.init(w), w)
        np.testing.assert_allclose(w["a"] + change["a"], params[0].detach(), rtol=1e-5)


@pytest.mark.parametrize("decay", ["none", "l2", "decoupled", "paper"])
def test_single_precision(decay: str) -> None:
    found, wanted = both("adam + drop(g, 0.5)", decay, torch.float32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["sgdw_paper", "adamw_paper", "momentum_inside"])
@pytest.mark.parametrize("base_lr", [0.1, None])
def test_a_schedule_may_start_at_zero(name: str, base_lr: float | None) -> None:
    entry = CATALOGUE[name]
    given: Any = {"lr": base_lr or 1.0, "decay": entry.decay, "weight_decay": entry.weight_decay}
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.1, 3, STEPS)
    ours = load(to_optax(entry.rule, **given))(schedule, **{"base_lr": base_lr} if base_lr else {})
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    theirs = load(to_torch(entry.rule, **given))([w])
    for group in theirs.param_groups:
        group["initial_lr"] = base_lr or 1.0
    weights = jax.numpy.ones(3)
    state = ours.init(weights)
    for t in range(5):
        theirs.param_groups[0]["lr"] = float(schedule(t))
        w.grad = torch.full_like(w, 0.3)
        theirs.step()
        updates, state = jax.jit(ours.update)(jax.numpy.full(3, 0.3), state, weights)
        weights = optax.apply_updates(weights, updates)
        np.testing.assert_allclose(weights, w.detach().numpy(), rtol=1e-6)


def test_half_precision_keeps_float32_state() -> None:
    w = {"w": jax.numpy.ones(3, "bfloat16")}
    optimizer = load(to_optax("adam", lr=0.1))()
    state = optimizer.init(w)
    updates, state = optimizer.update(w, state, w)
    assert updates["w"].dtype == "bfloat16"
    assert state.slots[0][0].dtype == "float32"
    with pytest.raises(ValueError, match="params"):
        optimizer.update(w, state)


def test_the_file_says_what_it_is() -> None:
    source = to_optax("ld * g", "linear", provenance="Found here.")
    assert "Usage: optimizer = linear(0.01, total_steps=1000)" in source
    assert "Found here." in source
    assert "*, total_steps=math.inf, beta=0.9, base=2" in to_optax(CATALOGUE["powersign"].rule)
    with pytest.raises(RuleError):
        to_optax("w")
    with pytest.raises(ValueError, match="no hyperparameter"):
        to_optax("g", hyperparameters={"beta": 1.0})
