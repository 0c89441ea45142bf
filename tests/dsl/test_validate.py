"""Static checks: what is refused, where, and with what advice."""

import pytest

from dsl.errors import RuleError
from dsl.text import parse
from dsl.validate import check


@pytest.mark.parametrize(
    ("text", "position", "said", "hint"),
    [
        ("bta * g", 0, "Unknown name 'bta'", "'beta'"),
        ("g * mm", 4, "Unknown name 'mm'", "'m'"),
        ("emaa * g", 0, "Unknown name 'emaa'", "'ema'"),
        ("g * ema", 4, "'ema' takes its arguments in parentheses", "beta"),
        ("ema(g, g)", 7, "must be a scalar", "Scalars are"),
        ("ema(g, m)", 7, "must be a scalar", ""),
        ("clip(g, 1) * cd(w)", 16, "must be a scalar", ""),
        ("ema(ld, 0.9) * g", 4, "needs a tensor", "g, w, u"),
        ("norm(3) * g", 5, "needs a tensor", ""),
        ("norm(mean(g)) * g", 0, "already one number per tensor", ""),
        ("debias(g)", 0, "takes a moving average", "debias(ema(x, beta))"),
        ("debias(trace(g, mu))", 0, "takes a moving average", ""),
        ("w", 0, "ignores the gradient", "ema(g, beta)"),
        ("3 * ld", 2, "same for every weight", ""),
        ("g - g + w", 6, "cancels", ""),
        ("0 * m + w", 6, "cancels", ""),
        ("g = 3\ng", 0, "'g' is the gradient", ""),
        ("u = g\nu", 0, "previous update", ""),
        ("exp = g\nexp", 0, "is an operator", ""),
        ("a = g\na = m\na", 6, "given twice", ""),
        ("a = b\nb = g\na", 4, "used before its line", "up"),
        ("a = a * g\na", 4, "used before its line", ""),
    ],
)
def test_refuses(text: str, position: int, said: str, hint: str) -> None:
    with pytest.raises(RuleError) as caught:
        check(parse(text))
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text",
    [
        "g",
        "u + g",
        "m = g * 2\nm",
        "beta = 0.5\nema(g, beta)",
        "beta1 = demon(0.9)\nadam",
        "my_own = 0.1\nmy_own * g",
        "ema(norm(g), beta) * g",
        "where(g, 1, 0)",
        "noise(annealed_noise) + g",
        "mean(sign(g) * sign(m)) * g",
    ],
)
def test_accepts(text: str) -> None:
    check(parse(text))


def test_bounds_hold_with_the_lines_read_in() -> None:
    chain = "\n".join(["a0 = g", *(f"a{i + 1} = exp(a{i})" for i in range(40)), "a40"])
    with pytest.raises(RuleError, match="levels deep"):
        check(parse(chain))
