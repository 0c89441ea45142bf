import random

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.fingerprint import fingerprint
from dsl.text import format_rule, parse
from dsl.validate import check
from search.controller import uniform
from search.discovery import rule_of
from search.language import NOS, Language, Lists
from search.settings import LanguageSettings

TINY = Lists(("g", "m", "1"), ("{x}", "-{x}"), ("{x} * {y}", "{x}"))


def nos(groups: int) -> Language:
    return Language(LanguageSettings(groups=groups))


def tiny(groups: int) -> Language:
    lists = TINY if groups < 3 else Lists(TINY.operands[:2], TINY.unary[:1], TINY.binary)
    return Language(LanguageSettings(groups=groups), lists)


def test_lists_are_those_of_the_paper() -> None:
    assert (len(NOS.operands), len(NOS.unary), len(NOS.binary)) == (17, 12, 5)
    assert nos(1).size == 17 * 16 * 12 * 12 * 5


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_strings_written_out_are_all_that_the_masks_allow(groups: int) -> None:
    language = tiny(groups)
    prefixes = torch.empty(1, 0, dtype=torch.int64)
    for _ in range(language.length):
        legal = language.mask(prefixes)
        assert bool(legal.any(dim=1).all()), "no prefix is a dead end"
        row, token = legal.nonzero(as_tuple=True)
        prefixes = torch.cat([prefixes[row], token[:, None]], dim=1)
    every = [tuple(string) for string in prefixes.tolist()]
    assert every == list(language.strings())
    assert len(every) == language.size


def test_allows_is_the_mask() -> None:
    language = tiny(2)
    legal = set(language.strings())
    draw = random.Random(0)
    strings = list(legal)[::37]
    strings += [
        tuple(
            token if draw.random() < 0.8 else draw.randrange(-1, language.vocabulary + 1)
            for token in string
        )
        for string in strings
    ]
    assert any(string not in legal for string in strings)
    for string in strings:
        assert language.allows(string) is (string in legal)
    assert not language.allows(strings[0][:5])


def test_groups_build_on_earlier_ones() -> None:
    language = tiny(2)
    # operands g m 1, result 3, unary 4 5, binary 6 7
    assert language.decode([0, 1, 4, 4, 6, 3, 0, 5, 4, 6]) == "-(g * m) * g"
    assert language.decode([0, 1, 4, 4, 6, 0, 3, 4, 4, 7]) == "g"
    with pytest.raises(ValueError, match="does not allow"):
        language.decode([0, 1, 4, 4, 6, 0, 1, 4, 4, 6])
    with pytest.raises(ValueError, match="does not allow"):
        language.decode([0, 0, 4, 4, 6, 0, 3, 4, 4, 6])
    with pytest.raises(ValueError, match="none comes after"):
        language.mask(torch.zeros(1, 10, dtype=torch.int64))


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_every_string_drawn_decodes_to_a_rule_or_is_refused_for_a_reason(groups: int) -> None:
    language = nos(groups)
    sample = uniform(language, 400, torch.Generator().manual_seed(groups))
    sound = 0
    for tokens in sample.tokens.tolist():
        text = language.decode(tokens)
        expression = parse(text)
        assert parse(format_rule(expression)) == expression
        try:
            check(expression)
        except RuleError:
            continue
        sound += 1
        assert parse(canonical_text(text))
    assert sound > 200


@settings(max_examples=120, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.integers(1, 4), st.data())
def test_whatever_the_masks_allow_is_text_that_can_be_read(
    groups: int, data: st.DataObject
) -> None:
    language = nos(groups)
    tokens: list[int] = []
    while len(tokens) < language.length:
        legal = language.mask(torch.tensor([tokens], dtype=torch.int64))[0].nonzero().flatten()
        tokens.append(data.draw(st.sampled_from(legal.tolist())))
    assert language.allows(tokens)
    text = language.decode(tokens)
    expression = parse(text)
    assert parse(format_rule(expression)) == expression
    rule = rule_of(text)
    assert rule is None or (rule_of(rule) == rule and fingerprint(rule))


def find(language: Language, *names: str) -> list[int]:
    """Tokens by their texts, unary and binary ones as written in the lists."""
    lists = language.lists
    results = [f"r{k}" for k in range(1, language.groups)]
    words = [*lists.operands, *results, *lists.unary, *lists.binary]
    # The unary and the binary `{x}` share a text: every fifth word is binary.
    return [
        len(words) - 1 if name == "{x}" and place % 5 == 4 else words.index(name)
        for place, name in enumerate(names)
    ]


AGREEMENT = ["sign(g)", "sign(m)", "{x}", "{x}", "{x} * {y}"]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["g", "m", "{x}", "{x}", "{x}"], "g"),
        (["m", "g", "{x}", "clip({x}, 0.001)", "{x}"], "m"),
        (["adam", "g", "{x}", "{x}", "{x}"], "adam"),
        (["g", "m", "exp({x})", "exp({x})", "{x} - {y}"], "exp(g) - exp(m)"),
        (["g", "m", "{x}", "drop({x}, 0.3)", "{x} + {y}"], "g + drop(m, 0.3)"),
        (["m", "v", "clip({x}, 0.0001)", "exp({x})", "{x} * {y}"], "clip(m, 0.0001) * exp(v)"),
        (
            ["g", "g^2", "{x}", "clip({x}, 0.0001)", "{x} - {y}"],
            "g - clip(g^2, 0.0001)",
        ),
        (
            [*AGREEMENT, "r1", "g", "exp({x})", "{x}", "{x} * {y}"],
            "exp(sign(g) * sign(m)) * g",
        ),
        (
            [
                *AGREEMENT,
                *("1", "r1", "{x}", "{x}", "{x} + {y}"),
                *("r2", "g", "{x}", "{x}", "{x} * {y}"),
            ],
            "(1 + sign(g) * sign(m)) * g",
        ),
        (
            [*AGREEMENT, "adam", "r1", "{x}", "exp({x})", "{x} * {y}"],
            "adam * exp(sign(g) * sign(m))",
        ),
    ],
)
def test_the_rules_of_the_paper_can_be_said(words: list[str], rule: str) -> None:
    language = nos(len(words) // 5)
    assert canonical_text(language.decode(find(language, *words))) == canonical_text(rule)
