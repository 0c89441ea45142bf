"""A rule's interpreted steps are those of its compiled form."""

import pytest
import torch
from hypothesis import Phase, assume, given, settings

from dsl.columns import Columns, moments
from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.functions import Functions
from dsl.interpreter import Interpreter
from dsl.randomness import Draw, normal, uniform
from dsl.scalars import fitting
from dsl.text import format_rule
from dsl.validate import program_of
from optimizers.catalogue import CATALOGUE
from tests.dsl.strategies import expressions

STEPS, TOTAL, SHAPE = 6, 4, (3, 5)
TIMES = tuple(range(STEPS))

RULES = [
    "prev(g)",
    "prev(prev(g)) + g",
    "prev(sign(g)) + prev(g ^ 2) * prev(prev(g))",
    "0.5 * u + g",
    "prev(u) + u + g",
    "clip(2, abs(g))",
    "drop(1, 0.5) * g",
    "drop(g, 0.3) + drop(g, ld) + noise(0.1 * ld)",
    "min(g, 0.1) + max(0.2, g)",
    "where(ld - 0.5, g, 1) + where(g, 1, 2)",
    "rms(g) + norm(w) * mean(g)",
    "2 ^ g + g ^ 2 + 2.718281828459045 ^ (g * ld)",
    "ema(g, demon(0.9)) + debias(ema(g, demon(0.9)))",
    "g * product(1 - ld / 2) + cd(2) * rd(3)",
    "yogi(g, 0.9) + runmax(g) + total(g) + trace(g, 0.9)",
    "1e300 * g / 1e39",
    "ema(norm(g), beta1)",
    "min(T, g) + max(norm(g), T) + where(T, g, w)",
    "alpha ^ log(w) * g",
    "1e-308 ^ clip(g ^ 2, 0.0001) + 1e308 ^ clip(g ^ 2, 0.0001)",
]


def functions(at: list[int], like: torch.Tensor) -> Functions:
    """Return operators whose random numbers are those of the step in `at`."""
    tensor = {
        "norm": torch.linalg.vector_norm,
        "mean": torch.mean,
        "rms": lambda x: x.square().mean().sqrt(),
        "uniform": lambda _, index, g: uniform(Draw(7, at[0]), index, like),
        "normal": lambda _, index, g: normal(Draw(7, at[0]), index, like),
        "draw": None,
        "g": None,
    }
    return Functions(tensor, {"now": moments(TIMES).clamp(max=TOTAL), "T": float(TOTAL)})


def assert_steps_as_compiled(text: str, like: torch.Tensor, tolerance: float) -> None:
    generator, at = torch.Generator().manual_seed(0), [0]
    compiled, program = compile_rule(text), program_of(text)
    values = program.hyperparameters
    interpreter = Interpreter(Columns(program, values, TIMES, TOTAL, functions(at, like)), like)
    state = compiled.initial_state(like)
    memory: dict[str, float] = {}
    for step in TIMES:
        g, w = (torch.randn(SHAPE, generator=generator).to(like.dtype) for _ in range(2))
        at[0] = step
        found = interpreter.step(g, w)
        scalars = fitting(compiled.scalars(step, TOTAL, values, memory), g.dtype)
        wanted = compiled.update(g, w, state, scalars, Draw(7, step)).expand(SHAPE)
        assert found.dtype == like.dtype
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("text", [*RULES, *sorted({entry.rule for entry in CATALOGUE.values()})])
def test_every_step_is_the_compiled_rules(text: str) -> None:
    assert_steps_as_compiled(text, torch.empty(SHAPE, dtype=torch.float64), 1e-9)


@pytest.mark.parametrize("text", RULES)
def test_numbers_are_as_the_weights_type_takes_them(text: str) -> None:
    assert_steps_as_compiled(text, torch.empty(SHAPE), 1e-3)


@settings(max_examples=150, deadline=None, derandomize=True, phases=[Phase.generate])
@given(expressions)
def test_every_step_of_any_rule_is_the_compiled_rules(expression) -> None:
    text = format_rule(expression)
    try:
        compile_rule(text)
    except RuleError:
        assume(False)
    assert_steps_as_compiled(text, torch.empty(SHAPE, dtype=torch.float64), 1e-7)
