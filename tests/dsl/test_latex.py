"""Rules as LaTeX."""

import re

import pytest

from dsl.latex import to_latex
from optimizers.catalogue import CATALOGUE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g", "u_t = g_t"),
        ("m / (sqrt(v) + eps)", r"u_t = \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}"),
        ("(g + m) * w", r"u_t = \left(g_t + \hat m_t\right) \, w_t"),
        ("g - (m - w)", r"u_t = g_t - \left(\hat m_t - w_t\right)"),
        ("(g / m) ^ 2", r"u_t = \left(\frac{g_t}{\hat m_t}\right)^{2}"),
        ("1e-4 * g", r"u_t = 10^{-4} \, g_t"),
        ("2.5e-7 * g", r"u_t = 2.5 \cdot 10^{-7} \, g_t"),
        ("g * 2", r"u_t = g_t \cdot 2"),
        ("g * ld", r"u_t = g_t \, \left(1 - \tfrac tT\right)"),
        (
            "mu1 = 0.9\ng * mu1",
            r"\begin{aligned} \mu_1 &= 0.9 \\ u_t &= g_t \, \mu_1 \end{aligned}",
        ),
    ],
)
def test_writes(text: str, expected: str) -> None:
    assert to_latex(text) == expected


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_brackets_balance(name: str) -> None:
    latex = to_latex(CATALOGUE[name].rule)
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert re.findall(r"(?<!\\)%|\{\d\}\{\{", latex) == []
