from xml.etree import ElementTree

import pytest

from dsl.operators import OPERATORS
from dsl.text import parse
from optimizers.catalogue import CATALOGUE
from service.web.formula import formula, symbol


def parsed(markup: str) -> ElementTree.Element:
    """Return a formula as a tree; fails where it is not well-formed."""
    return ElementTree.fromstring(f"<p>{markup}</p>")


def read(text: str, display: bool = False) -> str:
    """Return a formula's characters, without invisible ones, powers as ^ and fractions as ⁄."""
    root = parsed(formula(text, display))
    for node in root.iter():
        if node.tag == "msup":
            node[1].text = "^" + (node[1].text or "")
        if node.tag == "mfrac":
            node[1].text = "⁄" + (node[1].text or "")
    return (
        "".join(root.itertext())
        .replace("\N{FUNCTION APPLICATION}", "")
        .replace("\N{INVISIBLE TIMES}", "")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g", "g"),
        ("exp(sign(g) * sign(m)) * g", "e^sgn(g)sgn(m)g"),
        ("(g + m) * w", "(g+m)w"),
        ("g * w + m", "gw+m"),
        ("g - (m - w)", "g−(m−w)"),
        ("g - m - w", "g−m−w"),
        ("g + -m", "g+(−m)"),
        ("g * -m", "g(−m)"),
        ("-(g + m)", "−(g+m)"),
        ("-g ^ 2", "−g^2"),
        ("(-g) ^ 2", "(−g)^2"),
        ("(g / w) ^ 2", "(g⁄w)^2"),
        ("(g * m) ^ w", "(gm)^w"),
        ("(g ^ 2) ^ 3", "(g^2)^3"),
        ("g * 2", "g·2"),
        ("1e-8 + g", "10^−8+g"),
        ("2.5e-5 * g", "2.5×10^−5g"),
        ("square(g + w)", "(g+w)^2"),
        ("abs(g) + norm(g)", "|g|+‖g‖"),
        ("beta1 * g", "β1g"),
        ("debias(ema(g, beta1))", "ema\u0302β1(g)"),
    ],
)
def test_formulas_say_what_the_text_says(text: str, expected: str) -> None:
    assert read(text) == expected


def test_names_are_explained_after_the_update() -> None:
    assert read("a = sign(m)\nb = 0.5\na * g * b") == "agb where a=sgn(m), b=0.5"


def test_parentheses_grow_with_fractions_alone() -> None:
    assert formula("sign(ema(g, beta1) ^ 2)").count('stretchy="false"') == 4
    assert 'stretchy="false"' not in formula("sign(g / w)")


def test_display_names_the_update_and_the_lines() -> None:
    assert read("m = ema(g, 0.9)\nsign(m)", display=True) == "u=sgn(m)m=ema0.9(g)"


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_named_rule_is_well_formed(name: str) -> None:
    for display in (False, True):
        assert parsed(formula(CATALOGUE[name].rule, display))[0].tag == "math"


@pytest.mark.parametrize("operator", [row for row in OPERATORS.values() if not row.symbol])
def test_every_operator_is_set(operator: object) -> None:
    name, letters = operator.name, operator.arguments  # type: ignore[attr-defined]
    if name == "neg":
        return
    if name == "debias":
        call = "debias(ema(g, 0.9))"
    else:
        call = f"{name}({', '.join('0.5' if letter == 's' else 'g' for letter in letters)})"
    text = f"g + {call}" if letters else f"g * {call.removesuffix('()')}"
    parse(text)
    parsed(formula(text))


def test_what_is_no_rule_is_shown_as_text() -> None:
    shown = str(formula("<img src=x onerror=alert(1)>"))
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_symbols_are_greek_with_their_index() -> None:
    assert "".join(ElementTree.fromstring(str(symbol("beta2"))).itertext()) == "β2"
