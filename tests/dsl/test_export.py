"""Exported files train to the same bits as RuleOptimizer, with nothing of this project near."""

import ast
import builtins
import copy
import inspect
import keyword
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dsl.canonical import canonical_text
from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.export import to_torch
from dsl.optax_export import to_optax
from dsl.randomness import Draw
from optimizers.catalogue import CATALOGUE
from optimizers.rule import RuleOptimizer
from search.controller import uniform
from search.discovery import rule_of
from search.language import Language
from search.settings import LanguageSettings

POWERSIGN = "m = ema(g, beta)\nbase ^ (decay * sign(g) * sign(m)) * g"


def load(source: str, name: str = "Rule") -> Any:
    module = types.ModuleType("exported_rule")
    sys.modules[module.__name__] = module  # for pickle
    exec(compile(source, "exported_rule.py", "exec"), module.__dict__)
    return getattr(module, name)


def weights(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (5,), ()]
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]


def loss_of(params: list[torch.Tensor]) -> torch.Tensor:
    return sum(((p.float() - 0.3) ** 4 + p.float().sin()).sum() for p in params)  # type: ignore


def train(optimizer: torch.optim.Optimizer, params: list[torch.Tensor], steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(params).backward()
        optimizer.step()


def options(kind: Any, steps: int) -> dict[str, int]:
    return {"total_steps": steps} if "total_steps" in inspect.signature(kind).parameters else {}


def test_powersign_is_short_and_readable() -> None:
    source = to_torch(POWERSIGN, "PowerSign", lr=0.1, provenance="Bello et al. 2017")
    lines = source.splitlines()
    assert len(lines) < 110
    assert max(map(len, lines)) <= 100
    assert "        m.lerp_(g, one_minus_beta)" in lines
    assert "        u = torch.exp(log_base * (decay * torch.sign(g) * torch.sign(m))) * g" in lines
    module = ast.parse(source)
    docstring = ast.get_docstring(module)
    assert docstring is not None
    assert "Bello et al. 2017" in docstring
    assert "u = base ^ (decay * sign(g) * sign(m)) * g" in docstring
    imports = {a.name for n in ast.walk(module) if isinstance(n, ast.Import) for a in n.names}
    assert imports == {"math", "torch"}
    assert not [n for n in ast.walk(module) if isinstance(n, ast.ImportFrom)]


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_update_lines_are_those_that_are_trained(name: str) -> None:
    source = to_torch(CATALOGUE[name].rule, lr=0.1)
    exported = {line.strip() for line in source.splitlines()}
    lines = compile_rule(CATALOGUE[name].rule).source.partition("def update")[2].splitlines()[1:]
    for line in lines:
        unpacking = line.strip().endswith((" = state", " = scalars"))
        assert unpacking or line.strip().replace("return ", "u = ") in exported


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_trains_to_the_bits_of_rule_optimizer(name: str) -> None:
    entry = CATALOGUE[name]
    decay = entry.decay if entry.decay != "none" else "paper"
    kind = load(to_torch(entry.rule, lr=entry.lr, decay=decay, weight_decay=0.01))
    ours, theirs = weights(), weights()
    exported = kind(ours, **options(kind, 20))
    trained = RuleOptimizer(
        theirs, entry.rule, entry.lr, decay=decay, weight_decay=0.01, total_steps=20
    )
    for optimizer, params in ((exported, ours), (trained, theirs)):
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        for _ in range(15):
            train(optimizer, params, 1)
            schedule.step()
    for a, b in zip(ours, theirs, strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_files_are_short(name: str) -> None:
    for text in (CATALOGUE[name].rule, canonical_text(CATALOGUE[name].rule)):
        for decay in ("l2", "paper"):
            source = to_torch(text, lr=0.1, decay=decay, provenance="Where it was found. " * 7)
            assert len(source.splitlines()) < 120


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_files_of_what_the_search_samples_are_short(groups: int) -> None:
    language = Language(LanguageSettings(groups=groups))
    sample = uniform(language, 100, torch.Generator().manual_seed(groups))
    for tokens in sample.tokens.tolist():
        text = language.decode(tokens)
        if rule_of(text) is None:
            continue
        source = to_torch(text, lr=0.1, decay="paper", provenance="Where it was found. " * 40)
        ast.parse(source)
        lines = source.splitlines()
        assert len(lines) < 120, text
        assert max(map(len, lines)) <= 100, text


BLOCK, JOINED = 1 << 17, 1 << 12


def sizes() -> list[torch.Tensor]:
    """Return weights that are joined, whole, cut into blocks, and not contiguous."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(), (3,), (JOINED - 1,), (0,), (90, 60), (BLOCK + 77,), (2, BLOCK)]
    params = [torch.randn(shape, generator=generator) for shape in shapes]
    params.append(
        torch.randn(2, 3, 40, 50, generator=generator).to(memory_format=torch.channels_last)
    )
    params.append(torch.randn(30, 20, generator=generator).t())
    return [p.requires_grad_() for p in params]


def settle(kind: Any, steps: int, **chosen: Any) -> list[torch.Tensor]:
    params = sizes()
    optimizer = kind(params, **options(kind, 20), **chosen)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).mul_(0.1)
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("name", ["adam", "powersign", "lamb", "nos_g_drop_m", "lion"])
def test_pieces_of_tensors_step_like_whole_ones(name: str) -> None:
    rule = CATALOGUE[name].rule
    kind = load(to_torch(rule, lr=0.01, decay="decoupled", weight_decay=0.1))
    found = settle(kind, 3)
    params, generator = sizes(), torch.Generator().manual_seed(2)
    compiled = compile_rule(rule)
    numbers = dict(compiled.hyperparameters)
    states = [compiled.initial_state(p.detach()) for p in params]
    for step in range(3):
        first = 0
        for p, state in zip(params, states, strict=True):
            g = torch.randn(p.shape, generator=generator).mul_(0.1)
            scalars = compiled.scalars(step, 20, numbers)
            u = compiled.update(g, p.detach(), state, scalars, Draw(0, step, first))
            p.data.copy_(p.data * (1 - 0.01 * 0.1) - 0.01 * u)
            first += p.numel()
    for a, b in zip(found, params, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=2e-6, atol=1e-7)

    def ours(params: list[torch.Tensor]) -> RuleOptimizer:
        return RuleOptimizer(params, rule, 0.01, decay="decoupled", weight_decay=0.1)

    again = settle(ours, 3)
    for a, b in zip(found, again, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("name", ["adam", "powersign", "lion"])
def test_foreach_is_a_matter_of_speed(name: str) -> None:
    kind = load(to_torch(CATALOGUE[name].rule, lr=0.01))
    for a, b in zip(settle(kind, 3), settle(kind, 3, foreach=False), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=1e-7)


SCRIPT = """
import importlib.util, sys, torch
spec = importlib.util.spec_from_file_location("found", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert not {"dsl", "optimizers", "rulesmith"} & set(sys.modules)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
x = torch.randn(32, 6)
optimizer = module.PowerSign(model.parameters())
for _ in range(100):
    optimizer.zero_grad()
    (model(x) - x.prod(1, keepdim=True)).square().mean().backward()
    optimizer.step()
torch.save([p.detach() for p in model.parameters()], sys.argv[2])
"""


def test_a_process_without_this_project_trains_to_the_same_bits(tmp_path: Path) -> None:
    file, found = tmp_path / "powersign.py", tmp_path / "weights.pt"
    file.write_text(to_torch(POWERSIGN, "PowerSign", lr=0.05))
    command = [sys.executable, "-I", "-c", SCRIPT, str(file), str(found)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120)

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    x = torch.randn(32, 6)
    optimizer = RuleOptimizer(model.parameters(), POWERSIGN, 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (model(x) - x.prod(1, keepdim=True)).square().mean().backward()
        optimizer.step()
    for a, b in zip(torch.load(found), model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rule", ["adam", "debias(ema(g, demon(0.9))) + drop(g, 0.5)"])
def test_state_travels_to_the_bit(rule: str, dtype: torch.dtype) -> None:
    kind = load(to_torch(rule, lr=0.01))
    through, params = weights(dtype), weights(dtype)
    first = kind(through, **options(kind, 20))
    train(first, through, 12)

    half = kind(params, **options(kind, 20))
    train(half, params, 5)
    resumed_params = [p.detach().clone().requires_grad_() for p in params]
    resumed = kind(resumed_params, **options(kind, 20))
    resumed.load_state_dict(pickle.loads(pickle.dumps(half.state_dict())))
    twin_params, twin = copy.deepcopy((params, half))
    train(resumed, resumed_params, 7)
    train(twin, twin_params, 7)
    for a, b, c in zip(through, resumed_params, twin_params, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_is_an_ordinary_optimizer() -> None:
    kind = load(to_torch("trace(g, mu)", lr=0.1))
    a, b, unused = (torch.ones(2, requires_grad=True) for _ in range(3))
    optimizer = kind([{"params": [a], "lr": 0.5, "mu": 0.0}, {"params": [b, unused]}])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (a.sum() + b.sum()) * 1.0
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    optimizer.step(closure)
    assert a.tolist() == [0.0, 0.0]
    torch.testing.assert_close(b.detach(), torch.full((2,), 1 - 0.1 - 0.19))
    assert unused.tolist() == [1.0, 1.0]
    assert unused not in optimizer.state
    c = torch.zeros(1, requires_grad=True)
    optimizer.add_param_group({"params": [c], "maximize": True})
    c.grad = torch.ones(1)
    optimizer.step()
    assert c.item() == pytest.approx(0.1)


def test_refuses_sparse_and_complex_gradients() -> None:
    kind = load(to_torch("g", "Plain", lr=0.1), "Plain")
    table = torch.nn.Embedding(3, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="dense"):
        kind(table.parameters()).step()
    z = torch.ones(2, dtype=torch.complex64, requires_grad=True)
    z.abs().sum().backward()
    with pytest.raises(RuntimeError, match="complex"):
        kind([z]).step()
    with pytest.raises(ValueError, match="lr = -1"):
        kind([torch.ones(1)], lr=-1.0)


def test_arguments() -> None:
    source = to_torch("lr = 3\nlambda = 2\nlr * lambda * ld * g", hyperparameters={"lambda": 0.5})
    kind = load(source)
    p = torch.ones(1, requires_grad=True)
    p.grad = torch.ones(1)
    kind([p], 0.1, total_steps=10).step()
    assert p.item() == pytest.approx(1 - 0.1 * 1.5)
    with pytest.raises(TypeError, match="total_steps"):
        kind([p], 0.1)
    with pytest.raises(ValueError, match="at least 1"):
        kind([p], 0.1, total_steps=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "class"}, "class name"),
        ({"name": "a b"}, "class name"),
        ({"name": "torch"}, "class name"),
        ({"hyperparameters": {"bta": 1.0}}, "it has: beta1, beta2, eps"),
        ({"decay": "strong"}, "allowed: none, l2"),
        ({"weight_decay": 0.1}, "no effect"),
        ({"lr": float("nan")}, "finite"),
    ],
)
def test_bad_arguments(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_torch("adam", **options)


LATE = [
    ("g / 2 ^ t", 1030, {}),
    ("sqrt(40 - t) * g + 2 / (30 - t) * g ^ 0.5", 45, {}),
    ("g * log(ld) + g / ld", 22, {}),
    ("2 ^ (t ^ 3 / 7 + 0 / t) * g / exp(t * 40)", 30, {}),
    ("debias(ema(g, 1 / (t - 3))) + max(sqrt(9 - t), cd) * g", 12, {}),
    (CATALOGUE["radam"].rule, 8, {"beta2": 0.6}),
    (CATALOGUE["ademamix_scheduled"].rule, 4, {"beta1": 0.0}),
    (CATALOGUE["powersign"].rule, 3, {"base": 0.0}),
    (CATALOGUE["adabelief"].rule, 3, {"beta2": 0.0}),
    (CATALOGUE["nadam"].rule, 60, {"psi": -200.0}),
]


@pytest.mark.parametrize(("rule", "steps", "numbers"), LATE)
def test_goes_on_where_floats_raise(rule: str, steps: int, numbers: dict[str, float]) -> None:
    kind = load(to_torch(rule, lr=0.1))
    ours, theirs = (torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2))
    exported = kind([ours], **options(kind, 20), **numbers)
    trained = RuleOptimizer([theirs], rule, 0.1, total_steps=20, **numbers)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        ours.grad = torch.rand(2, generator=generator) * 0.1
        theirs.grad = ours.grad.clone()
        exported.step()
        trained.step()
        assert ours.detach().numpy().tobytes() == theirs.detach().numpy().tobytes(), step


BEYOND = ["clip(g, 1e39)", "max(g, -1e39)", "g * 1e-46 + g", "g + 1e39", "where(g, 1e39, g)",
          "ema(g, 1e39)", "clip(g, 1e30 * 1e30)", "bound = 1e39\nclip(g, bound)",
          "clip(g, exp(t * 50))", "drop(1e39, 0.1) * g"]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", BEYOND)
def test_numbers_beyond_float32_are_what_they_are_in_training(
    rule: str, dtype: torch.dtype
) -> None:
    kind = load(to_torch(rule, lr=0.1))
    ours, theirs = weights(dtype), weights(dtype)
    train(kind(ours), ours, 4)
    train(RuleOptimizer(theirs, rule, 0.1), theirs, 4)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "rule",
    ["(1 / 0) * g", "t ^ t ^ t ^ t * g", "log(0 - t) * g", "a / (a - a) * g", "exp(t * 1e3) * g",
     "debias(ema(g, 0.9 / (t - 1))) + max(sqrt(1 - t), T ^ T ^ T) * g"],
)  # fmt: skip
def test_scalars_without_end_are_those_of_the_trainer(rule: str) -> None:
    rule = f"a = 2\n{rule}" if "a /" in rule else rule
    kind = load(to_torch(rule, lr=0.1))
    ours, theirs = weights(), weights()
    for steps in range(1, 6):
        pair = [
            (kind(ours, **options(kind, 20)), ours),
            (RuleOptimizer(theirs, rule, 0.1, total_steps=20), theirs),
        ]
        for optimizer, params in pair:
            train(optimizer, params, steps)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def identifiers() -> list[str]:
    """Every word of exported files, of Python and of parameter groups that may name a number."""
    rules = ("ema(g, beta) + drop(g, 0.1) * ld", "noise(demon(beta)) * exp(alpha * ld) + norm(g)")
    files = [to_torch(rule, lr=0.1, decay="paper") for rule in (*rules, "debias(ema(g, ld))")]
    found = set(re.findall(r"[A-Za-z_]\w*", "".join(files + [to_optax(rule) for rule in rules])))
    found |= {*dir(builtins), *keyword.kwlist, "_", "__", "___", "__x", "rule_lr", "values2", "k"}
    found |= {"max_lr", "momentum", "betas", "T_", "one_minus_beta", "eta", "eta_scale", "rule_f"}
    return sorted(name for name in found if allowed(f"{name} = 0.5\n{name} * g"))


def allowed(rule: str) -> bool:
    try:
        return bool(compile_rule(rule))
    except RuleError:
        return False


NAMES = identifiers()
NAMED = [
    "{0} = 0.5\n{1} = 0.2\n{2} = 0.1\nexp({0} * ld) * debias(ema(g, {1})) + abs(ema(g, {2})) ^ {1}",
    "{0} = ema(g, 0.9)\n{1} = norm(g)\n{2} = demon(0.9) * t\n{0} * {1} + {2} * drop({0}, 0.1)",
]


@pytest.mark.parametrize("rule", NAMED)
def test_any_name_of_the_language_steps_in_a_file(rule: str) -> None:
    assert len(NAMES) > 300
    for i in range(0, len(NAMES), 3):
        text = rule.format(*(NAMES * 2)[i : i + 3])
        ours, theirs = weights(), weights()
        kind = load(to_torch(text, lr=0.1))
        train(kind(ours, **options(kind, 20)), ours, 2)
        train(RuleOptimizer(theirs, text, 0.1, total_steps=20), theirs, 2)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b), text


def test_a_class_is_not_named_like_what_its_file_uses() -> None:
    for name in NAMES:
        try:
            source = to_torch("ema(g, 0.9) * exp(ld)", name, lr=0.1)
        except ValueError:
            continue
        params = weights()
        train(load(source, name)(params, total_steps=3), params, 1)


@pytest.mark.parametrize("write", [to_torch, to_optax])
@pytest.mark.parametrize(
    ("rule", "said"), [("w", "ignores"), ("0 * g", "cancels"), ("g - g + w", "cancels")]
)
def test_rules_without_the_gradient_are_refused(write: Any, rule: str, said: str) -> None:
    with pytest.raises(RuleError, match=said):
        write(rule)


SCHEDULERS: list[Callable[[Any], Any]] = [
    lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5),
    lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.3),
    lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.05, total_steps=12, cycle_momentum=False
    ),
]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("rule", ["adam", "eta * trace(g, 0.9)"])
def test_torch_schedulers_drive_a_file(scheduler: Callable[[Any], Any], rule: str) -> None:
    rule = f"eta = 1\n{rule}" if "eta" in rule else rule
    kind = load(to_torch(rule, lr=0.01, decay="paper", weight_decay=0.1))
    ours, theirs = weights(), weights()
    trained = RuleOptimizer(theirs, rule, 0.01, decay="paper", weight_decay=0.1)
    rates = []
    for optimizer, params in ((kind(ours), ours), (trained, theirs)):
        schedule = scheduler(optimizer)
        plateau = isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        for _ in range(10):
            train(optimizer, params, 1)
            schedule.step(1.0) if plateau else schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
    assert len(set(rates)) > 2
    assert rates[:10] == rates[10:]
    for a, b in zip(ours, theirs, strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


def test_a_gradient_scaler_unscales_and_skips() -> None:
    kind = load(to_torch("adam", lr=0.1))
    scaled, plain = weights(), weights()
    ours, theirs = kind(scaled), kind(plain)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(4):
        ours.zero_grad()
        scaler.scale(loss_of(scaled)).backward()
        if step == 2:
            scaled[0].grad[0, 0] = math.inf  # type: ignore[index]
        else:
            train(theirs, plain, 1)
        scaler.step(ours)
        scaler.update()
    assert scaler.get_scale() == 512.0
    for a, b in zip(scaled, plain, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_steps_like_float32_rounded_each_time(dtype: torch.dtype) -> None:
    kind = load(to_torch("adam", lr=0.01, decay="decoupled", weight_decay=0.1))
    half, full = weights(dtype), [w.float().detach().requires_grad_() for w in weights(dtype)]
    ours, theirs = kind(half), kind(full)
    for _ in range(5):
        train(ours, half, 1)
        for p, w in zip(half, full, strict=True):
            assert p.grad is not None
            w.grad = p.grad.float()
        theirs.step()
        for p, w in zip(half, full, strict=True):
            w.data.copy_(w.to(dtype))
            assert torch.equal(p.float(), w)
    assert ours.state[half[0]]["m"].dtype == torch.float32


@pytest.mark.parametrize("hostile", ['"""\nimport os', "\\", 'x"', "\\\"\"\" + '''", "a\x00b\r\nc"])
def test_provenance_stays_inside_the_docstring(hostile: str) -> None:
    module = ast.parse(to_torch("g", lr=1.0, provenance=hostile))
    kinds = [type(node) for node in module.body]
    assert kinds == [ast.Expr, ast.Import, ast.Import, *[ast.FunctionDef] * 2, ast.ClassDef]


COMPILED = """
import importlib.util, sys, torch
spec = importlib.util.spec_from_file_location("found", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def train(**options):
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(s, generator=generator, requires_grad=True) for s in ((), (5,), (80, 70))]
    optimizer = module.Rule(params, **options)
    for _ in range(4):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.param_groups[0]["lr"] *= 0.9
        optimizer.step()
    return params
for a, b in zip(train(compiled=True), train()):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
"""


def compiled_run(tmp_path: Path, rule: str, **environment: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "rule.py"
    file.write_text(to_torch(rule, lr=0.05, decay="decoupled", weight_decay=0.1))
    return subprocess.run(
        [sys.executable, "-c", COMPILED, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
@pytest.mark.parametrize("rule", ["adam", "norm(g) * g + drop(ema(g, 0.9), 0.3)"])
def test_compiled_trains_alike(tmp_path: Path, rule: str) -> None:
    done = compiled_run(tmp_path, rule)
    assert done.returncode == 0, done.stderr


def test_compiled_without_a_compiler_says_so(tmp_path: Path) -> None:
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "CXX": "/nonexistent"}
    done = compiled_run(tmp_path, "adam", **cache)
    assert done.returncode != 0
    assert "No working C++ compiler found" in done.stderr
