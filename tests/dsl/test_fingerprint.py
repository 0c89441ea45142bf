"""Rules that do the same have one fingerprint, rules that do not have two."""

import pytest
import torch
from hypothesis import Phase, assume, given, settings

from dsl.canonical import canonical_text
from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.fingerprint import fingerprint
from dsl.probe import SEED, TIMES, TOTAL, numbers, probe, trajectory
from dsl.randomness import Draw
from dsl.text import format_rule, parse
from dsl.validate import checked
from optimizers.catalogue import CATALOGUE
from tests.dsl.strategies import expressions

ADAM, POWERSIGN = "bddaec2ebf5965f9", "410c30240ee07d58"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("exp(g) * exp(m)", "exp(g + m)"),
        ("base ^ g", "exp(g)"),
        ("nu = 1\nnu * m + (1 - nu) * g", "m"),
        ("where(g, g, -g)", "abs(g)"),
        ("max(g, m) + min(g, m)", "g + m"),
        ("drop(g + m, 0.3)", "drop(m + g, 0.3)"),
        ("2 * g", "g"),
        ("200 * g", "g"),
        ("alpha = 7\nalpha * adam", "adam"),
    ],
)
def test_merges(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("g", "-g"),
        ("g / sqrt(v)", "rmsprop"),
        ("ld * g", "cd * g"),
        ("g + 1e-8 * w", "g"),
        ("m", "ema(g, beta1)"),
        ("ema(g, 0.9)", "ema(g, 0.901)"),
        ("drop(g, 0.3)", "drop(g, 0.31)"),
        ("clip(g, 1e-5)", "clip(g, 1e-4)"),
        ("g + log(abs(g)) * 0", "g"),
        ("prev(g)", "g"),
        ("drop(g, 0.3) * clip(noise(0.1), 1e-4)", "drop(g, 0.3) * sign(noise(0.1))"),
        ("sign(m) * clip(sqrt(abs(rmsprop)), 1e-5)", "sign(m)"),
        ("sign(m) * clip(sqrt(sqrt(sqrt(abs(g)))), 1e-5)", "sign(m) * sign(abs(g))"),
        ("sign(log(abs(m)))", "clip(log(abs(g ^ 3)) + 1e-5, 1e-5)"),
        ("sign(m)", "clip(y + 0.001, 1e-5) * sign(adam)"),
        ("clip(w / 1000 + 2, 0.001) * y", "y"),
        ("clip(exp(m), 0.0001) * g", "g"),
        ("clip(-log(abs(noise(0.1))) - 1, 1e-4) * g", "g"),  # 3.7 standard deviations
        ("log(exp(g))", "g"),  # 0 where the gradient is lost beside 1
        ("g * clip(w * 0.1, 1e-5)", "g * sign(w)"),
        ("clip(adam, 1e-5)", "sign(m)"),
        ("clip(g, 200)", "g"),
        ("where(t - 1500, g, m)", "m"),
        ("where(t - 0.9 * T, g, m)", "m"),
        ("cd(20) * g", "cd(32) * g"),
        ("g / (abs(g) + 1e-12)", "sign(g)"),
        ("drop(g, 0.1) + drop(m, 0.3)", "drop(g, 0.3) + drop(m, 0.1)"),
        ("u + g", "g"),
        ("where(abs(g), g, w)", "g"),
        ("log(-abs(g))", "log(-abs(w)) + g"),  # not a number either, which says nothing
    ],
)
def test_does_not_merge(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_scale_counts_where_it_is_not_tuned() -> None:
    assert fingerprint("2 * g", scale_free=False) != fingerprint("g", scale_free=False)
    assert fingerprint("g + g", scale_free=False) == fingerprint("2 * g", scale_free=False)


def test_named_rules_are_told_apart() -> None:
    """Those that coincide have one canonical form or are known identities."""
    groups: dict[str, set[str]] = {}
    for name, entry in CATALOGUE.items():
        groups.setdefault(fingerprint(entry.rule), set()).add(name)
    forms = [
        {canonical_text(CATALOGUE[name].rule) for name in group}
        for group in groups.values()
        if len(group) > 1
    ]
    shared = [sorted(form) for form in forms if len(form) > 1]
    assert len(groups) >= 60
    assert len(shared) <= 6, shared


def test_refuses_what_is_no_rule() -> None:
    with pytest.raises(RuleError):
        fingerprint("w")


def compiled(text: str) -> torch.Tensor:
    """Step the compiled rule along the probe, one step after the other."""
    rule = compile_rule(text)
    # the probe's normal numbers are small more often
    update = rule.bind(
        normal=lambda draw, index, like: numbers("normal", index)[TIMES.index(draw.t)]
    )
    gradients, weights = probe()
    state = rule.initial_state(gradients[0])
    memory: dict[str, float] = {}
    updates = []
    for t, g, w in zip(TIMES, gradients, weights, strict=True):
        scalars = rule.scalars(t, TOTAL, rule.hyperparameters, memory)
        updates.append(update(g, w, state, scalars, Draw(SEED, t)).clone())
    return torch.stack(updates)


def assert_probed_as_compiled(text: str) -> None:
    expected = compiled(text)
    found = trajectory(checked(parse(text)), text).updates
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-300, equal_nan=True)


OPERATORS_IN_USE = (
    *("where(ld, g, w)", "where(g, 1, 0)", "where(t - 5, g, m)", "clip(3, abs(g))", "max(2, g)"),
    *("min(g, rd)", "clip(g, cd)", "drop(g, 0.5) * noise(0.1) + noise(ld)", "drop(2, 0.3) * g"),
    *("norm(g) * w + g / rms(w)", "mean(g)", "ema(mean(g), beta)", "debias(ema(g, demon(0.9)))"),
    *("prev(prev(g)) + runmax(g)", "yogi(g^2, ld) * g", "trace(g, cd)", "total(g) * product(ld)"),
    *("2 ^ (t / 10) * g", "(-2) ^ 0.5 * g", "log(0) * g", "exp(t) * g"),
    *("sqrt(t - 3) * g", "annealed_noise * g", "sign(t - 4) * g", "min(t, 5) * g / T", "-ld * g"),
    *("g + u / 2", "prev(u) + g", "k = 0.5\nema(g, k)"),
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


def test_is_the_same_in_every_process() -> None:
    assert fingerprint("adam") == fingerprint("adam", canonical=True) == ADAM
    assert fingerprint("base ^ (sign(g) * sign(m)) * noise(0.1) * g") == POWERSIGN


@pytest.mark.parametrize("text", ["log(-abs(g))", "g / (0 * w)", "max(g - 1e4, 0)", "g / 0"])
def test_a_rule_that_shows_nothing_is_only_itself(text: str) -> None:
    assert fingerprint(text) != fingerprint("log(-abs(g)) + g")
    assert fingerprint(text) == fingerprint(canonical_text(text))
