"""Files tell rightly where floats could raise, and then compute what the trainer computes."""

import math
import random
import types
from typing import Any

import pytest

from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.export import to_torch
from dsl.export_risk import Bounds, guarded, may_raise

LEAVES = ("t", "T", "ld", "cd(2)", "rd(3)", "0", "1", "2", "0.5", "-3", "700", "beta", "mu", "k")
GROWN = (
    *("{} + {}", "{} - {}", "{} * {}", "{} / {}", "{} ^ {}", "exp({})", "log({})", "sqrt({})"),
    *("min({}, {})", "max({}, {})", "where({}, {}, {})", "abs({})", "sign({})", "demon({})"),
)


def scalar(source: random.Random, depth: int) -> str:
    """Write a number that depends on time and hyperparameters."""
    if depth == 0 or source.random() < 0.2:
        return source.choice(LEAVES)
    shape = source.choice(GROWN)
    return f"({shape.format(*(scalar(source, depth - 1) for _ in range(shape.count('{}'))))})"


def rules(seed: int) -> Any:
    source = random.Random(seed)
    for _ in range(50):
        text = f"k = 1.5\nema(g, {scalar(source, 2)}) * {scalar(source, 3)} + g"
        try:
            yield text, compile_rule(text)
        except RuleError:
            continue


@pytest.mark.parametrize("seed", range(3))
def test_scalars_are_the_trainers_whatever_they_are(seed: int) -> None:
    kinds = set()
    for text, rule in rules(seed):
        if rule.recurrent:
            continue
        module = types.ModuleType("exported_rule")
        exec(to_torch(text, lr=0.1), module.__dict__)
        compute = vars(module).get("numbers") or vars(module).get("scalars")
        kinds.add("numbers" in vars(module))
        for beta, mu in ((0.9, 0.5), (0.0, math.nextafter(1, 0))):
            hyper = {k: {"beta": beta, "mu": mu}.get(k, v) for k, v in rule.hyperparameters.items()}
            for t in (0.0, 1.0, 7.0, 50.0, 60.0, 2000.0):
                wanted = rule.scalars(t, 50.0, hyper)
                found = compute(t=t, T=50.0, **hyper) if compute else ()
                assert repr([float(x) for x in found]) == repr([*wanted]), (text, t, hyper)
    assert kinds == {True, False}


@pytest.mark.parametrize(
    ("line", "raises"),
    [
        ("x = 1.0 - beta ** (t + 1)", False),
        ("x = 1.0 / (1.0 - beta)", False),
        ("x = beta * (1.0 - now / T) / (1.0 - beta * now / T)", False),
        ("x = now ** 0.25", False),
        ("x = cos(pi * ((now * beta) % T) / T)", False),
        ("x = 1.0 / beta", True),
        ("x = 1.0 / (1.0 - now / T)", True),
        ("x = k ** (t + 1)", True),
        ("x = 2.0 ** t", True),
        ("x = exp(k)", True),
        ("x = log(now)", True),
    ],
)
def test_bounds_tell_what_can_raise(line: str, raises: bool) -> None:
    known = {"beta": Bounds(0.0, math.nextafter(1, 0)), "k": Bounds()}
    assert may_raise(["now = min(t, T)", line], known) is raises


def test_numbers_are_guarded_only_where_tensors_differ() -> None:
    lines = ["x = 1.0 - beta ** (t + 1)", "y = 2.0 / x + max(x, 0.0) ** 0.5 - 1.0 / 0.0"]
    said = "y = number(2.0) / x + max(x, number(0.0)) ** number(0.5) - number(1.0) / number(0.0)"
    assert guarded(lines) == [lines[0], said]
