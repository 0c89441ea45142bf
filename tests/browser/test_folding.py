from xml.etree import ElementTree

import pytest

from dsl.text import parse
from optimizers.catalogue import CATALOGUE
from service.web.folding import WIDEST, extent, folded
from service.web.formula import pieces_of

LONG = "drop(sign(ema(g, beta1)), 0.3) + clip(drop(sign(g), 0.5) - drop(y, 0.5), 1e-05)"


def test_a_sum_is_folded_before_its_signs() -> None:
    assert folded("g + m - w").count("<math>") == 3
    assert folded("sign(g)").count("<math>") == 1


def test_what_is_too_wide_is_text_and_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert any(extent(piece) > WIDEST for piece in pieces_of(parse(LONG).update))
    assert "<math>" not in folded(LONG)
    assert "…" not in folded(LONG)
    assert folded(LONG, 40).endswith("…</code>")


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_named_rule_is_well_formed(name: str) -> None:
    ElementTree.fromstring(f"<p>{folded(CATALOGUE[name].rule)}</p>")


def test_what_is_no_rule_stays_text() -> None:
    assert "<img" not in folded("<img src=x onerror=alert(1)>")
