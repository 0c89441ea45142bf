import pytest
import torch

from dsl.canonical import canonical_text
from dsl.text import parse
from dsl.validate import check
from search.controller import uniform
from search.decays import DECAYS, Decays, language_of
from search.discovery import RandomStrategy, rule_of
from search.language import Language
from search.settings import LanguageSettings, Objective
from tests.search.searching import TEMPLATE, reinforcement, search

POWERSIGN = "exp(sign(g) * sign(m)) * g"


def decays(rule: str, groups: int = 1, operands: tuple[str, ...] | None = None) -> Decays:
    settings = LanguageSettings(preset="decays", rule=rule, groups=groups, operands=operands)
    language = language_of(settings)
    assert isinstance(language, Decays)
    return language


def rules(language: Decays) -> list[str]:
    """Write every string out, by the masks."""
    prefixes = torch.empty(1, 0, dtype=torch.int64)
    for _ in range(language.length):
        legal = language.mask(prefixes)
        assert bool(legal.any(dim=1).all()), "no prefix is a dead end"
        row, token = legal.nonzero(as_tuple=True)
        prefixes = torch.cat([prefixes[row], token[:, None]], dim=1)
    return [language.decode(tokens) for tokens in prefixes.tolist()]


@pytest.mark.parametrize("groups", [1, 2])
def test_every_string_is_a_rule_and_every_set_of_decays_is_said_once(groups: int) -> None:
    language = decays(POWERSIGN, groups, ("1", "ld", "rd(10)"))
    found = rules(language)
    assert len(found) == language.size
    for rule in found:
        check(parse(rule))
    assert POWERSIGN in found
    assert "ld * (exp(sign(g) * sign(m)) * g)" in found
    assert "exp(rd(10) * (sign(g) * sign(m))) * g" in found
    if groups == 2:
        assert "ld * (exp(rd(10) * (sign(g) * sign(m))) * g)" in found
        assert len(set(found)) == 1 + 8 * 2 + 28 * 4


def test_places_are_where_a_factor_is_allowed() -> None:
    found = rules(decays("debias(ema(clip(g, 0.1), beta))", 1, ("ld",)))
    assert found == [
        "ld * debias(ema(clip(g, 0.1), beta))",
        "debias(ema(ld * clip(g, 0.1), beta))",
        "debias(ema(clip(ld * g, 0.1), beta))",
    ]


def test_the_paper_s_decays_are_those_without_being_told() -> None:
    assert {"ld", "cd", "rd", "rd(10)"} < set(DECAYS)
    assert rule_of("ld * (exp(sign(g) * sign(m)) * g)") in map(rule_of, rules(decays(POWERSIGN)))


def test_strings_that_the_masks_do_not_allow_are_refused() -> None:
    language = decays(POWERSIGN, 2)
    tokens = uniform(language, 1, torch.Generator().manual_seed(0)).tokens[0].tolist()
    language.decode(tokens)
    for wrong in (tokens[::-1], tokens[:2], [*tokens[:3], 99], [tokens[2], *tokens[1:]]):
        with pytest.raises(ValueError, match="does not allow"):
            language.decode(wrong)


def test_what_has_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="has 1 place for a decay, and groups is 2; give at most"):
        decays("g", 2)
    with pytest.raises(ValueError, match="has 3 places for a decay, and groups is 4"):
        decays("debias(ema(clip(g, 0.1), beta))", 4)
    assert isinstance(language_of(LanguageSettings()), Language)


def test_a_search_tries_every_decay_that_does_otherwise_once() -> None:
    language = decays("exp(sign(g)) * g", 1, ("1", "ld"))
    rows = search(RandomStrategy(language, Objective(), 100, TEMPLATE, 0))
    tried = {proposal.candidate.rule for proposal, _ in rows}
    wanted = ("exp(sign(g)) * g", "ld * exp(sign(g)) * g", "exp(ld * sign(g)) * g")
    assert len(rows) == len(tried)
    assert {canonical_text(rule) for rule in wanted} <= tried
    assert len(tried) < language.size, "a decay within a sign changes nothing"
    learnt = search(reinforcement(language, 100))
    assert {proposal.candidate.rule for proposal, _ in learnt} == tried
