"""The trajectory along the probe is the compiled rule's, step by step."""

import pytest
import torch
from hypothesis import Phase, assume, given, settings

from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.text import format_rule, parse
from dsl.trajectory import stepped, trajectory
from dsl.validate import checked
from optimizers.catalogue import CATALOGUE
from tests.dsl.strategies import expressions


def assert_probed_as_compiled(text: str) -> None:
    expected = stepped(text)
    found = trajectory(checked(parse(text)), text).updates
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-300, equal_nan=True)


OPERATORS_IN_USE = (
    *("where(ld, g, w)", "where(g, 1, 0)", "where(t - 5, g, m)", "clip(3, abs(g))", "max(2, g)"),
    *("min(g, rd)", "clip(g, cd)", "drop(g, 0.5) * noise(0.1) + noise(ld)", "drop(2, 0.3) * g"),
    *("norm(g) * w + g / rms(w)", "mean(g)", "ema(mean(g), beta)", "debias(ema(g, demon(0.9)))"),
    *("prev(prev(g)) + runmax(g)", "yogi(g^2, ld) * g", "trace(g, cd)", "total(g) * product(ld)"),
    *("2 ^ (t / 10) * g", "(-2) ^ 0.5 * g", "log(0) * g", "exp(t) * g"),
    *("sqrt(t - 3) * g", "annealed_noise * g", "sign(t - 4) * g", "min(t, 5) * g / T", "-ld * g"),
    *("g + u / 2", "prev(u) + g", "k = 0.5\nema(g, k)", "alpha ^ log(w) * g", "1e-308 ^ g ^ 2"),
)


@pytest.mark.parametrize(
    "text", [*OPERATORS_IN_USE, *sorted({entry.rule for entry in CATALOGUE.values()})]
)
def test_the_probe_steps_a_rule_as_its_compiled_form_does(text: str) -> None:
    assert_probed_as_compiled(text)


@settings(max_examples=150, deadline=None, derandomize=True, phases=[Phase.generate])
@given(expressions)
def test_the_probe_steps_any_rule_as_its_compiled_form_does(expression) -> None:
    text = format_rule(expression)
    try:
        compile_rule(text)
    except RuleError:
        assume(False)
    assert_probed_as_compiled(text)
