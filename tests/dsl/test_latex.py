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
        ("total(g)^2", r"u_t = \left(\textstyle\sum_{s \le t} g_s\right)^{2}"),
        ("total(g) * g", r"u_t = \left(\textstyle\sum_{s \le t} g_s\right) \, g_t"),
        ("runmax(g)^2", r"u_t = \left(\max_{s \le t} g_s\right)^{2}"),
        ("sqrt(total(g^2))", r"u_t = \sqrt{\textstyle\sum_{s \le t} g_s^{2}}"),
        (
            "product(ld) * g",
            r"u_t = \left(\textstyle\prod_{s \le t} \left(1 - \tfrac sT\right)\right) \, g_t",
        ),
        (
            "runmax(total(u * t))",
            r"u_t = \max_{s \le t} \left(\textstyle\sum_{r \le s} u_{r-1} \, r\right)",
        ),
        (
            "s = 2\na = g + w\ntotal(s * a)",
            r"\begin{aligned} s &= 2 \\ a_t &= g_t + w_t \\ "
            r"u_t &= \textstyle\sum_{r \le t} s \, a_r \end{aligned}",
        ),
        (
            "_ = 1\n_ * g",
            r"\begin{aligned} \mathrm{\_} &= 1 \\ u_t &= \mathrm{\_} \, g_t \end{aligned}",
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
