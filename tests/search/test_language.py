import random
from itertools import permutations, product

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.fingerprint import fingerprint
from dsl.program import resolve
from dsl.text import format_rule, parse
from dsl.validate import check, checked
from search.controller import uniform
from search.discovery import rule_of
from search.language import Language
from search.settings import LanguageSettings
from search.words import FULL, NOS, SIGN, Lists, extent, fault, kind_of, spelt, tree_of

TINY = Lists(("g", "m", "1"), ("{x}", "-{x}"), ("{x} * {y}", "{x}"))


def nos(groups: int) -> Language:
    return Language(LanguageSettings(groups=groups))


def tiny(groups: int) -> Language:
    lists = TINY if groups < 3 else Lists(TINY.operands[:2], TINY.unary[:1], TINY.binary)
    return Language(LanguageSettings(groups=groups), lists)


def test_lists_are_those_of_the_paper() -> None:
    assert (len(NOS.operands), len(NOS.unary), len(NOS.binary)) == (17, 12, 5)
    # 7 operands are without the gradient: two of them never say a rule, nor does keeping one.
    assert nos(1).size == (17 * 16 - 7 * 6) * 12 * 12 * 5 - 7 * 10 * 12 * 12


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


TRAPS = Lists(
    ("1", "w", "g", "ld"),
    ("norm({x})", "ema({x}, 0.9)", "ema(g, {x})", "{x} ^ 2"),
    ("{y}", "max({x}, {y})", "{x} ^ {y}"),
)
"""Words that take few kinds: averages and norms of numbers and averages by a tensor are none."""

LANGUAGES = [
    *(Language(LanguageSettings(groups=groups), TRAPS) for groups in (1, 2, 3)),
    *(Language(LanguageSettings(preset="nos", groups=groups)) for groups in (1, 2, 3, 4)),
    *(Language(LanguageSettings(preset="sign", groups=groups)) for groups in (1, 2, 4)),
    *(Language(LanguageSettings(preset="full", groups=groups)) for groups in (1, 2, 4)),
]


@settings(max_examples=200, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.sampled_from(LANGUAGES), st.data())
def test_whatever_the_masks_allow_is_a_rule_that_can_be_read(
    language: Language, data: st.DataObject
) -> None:
    tokens: list[int] = []
    while len(tokens) < language.length:
        legal = language.mask(torch.tensor([tokens], dtype=torch.int64))[0].nonzero().flatten()
        tokens.append(data.draw(st.sampled_from(legal.tolist())))
    assert language.allows(tokens)
    text = language.decode(tokens)
    expression = parse(text)
    assert parse(format_rule(expression)) == expression
    checked(expression)
    most = language.extent
    found = extent(expression.update)
    assert found.nodes <= most.nodes
    assert found.depth <= most.depth
    assert len(text) <= most.length
    rule = rule_of(text)
    assert rule is None or (rule_of(rule) == rule and fingerprint(rule))


def resolves(text: str) -> bool:
    try:
        resolve(parse(text))
    except RuleError:
        return False
    return True


def test_masks_keep_what_no_rule_may_say_out_and_nothing_else() -> None:
    language = LANGUAGES[0]
    sayable = 0
    for op1, op2 in permutations(TRAPS.operands, 2):
        for u1, u2 in product(TRAPS.unary, TRAPS.unary):
            for b in TRAPS.binary:
                x, y = u1.replace("{x}", f"({op1})"), u2.replace("{x}", f"({op2})")
                whole = b.replace("{x}", f"({x})").replace("{y}", f"({y})")
                sayable += all(map(resolves, (x, y, whole))) and "g" in whole.replace("ld", "")
    assert 0 < sayable == language.size == len(list(language.strings()))


def test_templates_keep_their_arguments_together() -> None:
    lists = Lists(("g", "w"), ("2 * {x}", "-{x}", "{x} - 1"), ("{x} ^ {y}", "{x} / {y}"))
    language = Language(LanguageSettings(groups=1), lists)
    words = [*lists.operands, *lists.unary, *lists.binary]
    said = [words.index(word) for word in ("g", "w", "-{x}", "{x} - 1", "{x} ^ {y}")]
    assert language.decode(said) == "(-g) ^ (w - 1)"


def test_a_language_in_which_nothing_can_be_said_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule"):
        Language(LanguageSettings(groups=2), Lists(("w", "1"), ("{x}",), ("{x} + {y}",)))
    with pytest.raises(ValueError, match="no rule"):
        Language(LanguageSettings(groups=1), Lists(("g", "w"), ("norm(norm({x}))",), ("{x}",)))
    heavy = Lists(("g", "m"), ("{x}",), ("{x} * {x} * {x} + {y} * {y}",))
    with pytest.raises(ValueError, match="fewer groups"):
        Language(LanguageSettings(groups=4), heavy)


def test_a_job_names_words_of_its_own() -> None:
    own = LanguageSettings(
        preset="sign", unary=("exp", "{x}", "clip({x}, 0.1)"), binary=("*", "max")
    )
    lists = own.lists()
    assert lists.operands == SIGN.operands
    assert lists.unary == ("exp({x})", "{x}", "clip({x}, 0.1)")
    assert lists.binary == ("{x} * {y}", "max({x}, {y})")
    assert Language(own).size > 0


@pytest.mark.parametrize(
    ("word", "places", "parts"),
    [
        ("gradient", 0, ["'gradient'", "operand", "rule language"]),
        ("a = 1", 0, ["'a = 1'", "named lines"]),
        ("ema(1, 0.9)", 0, ["needs a tensor"]),
        ("tanh", 1, ["'tanh'", "unary", "sign", "exp({x})"]),
        ("tanh({x})", 1, ["tanh", "sqrt"]),
        ("{x.__class__}", 1, ["'{x.__class__}'"]),
        ("{x} + {y}", 1, ["{y}"]),
        ("norm(norm({x}))", 1, ["already one number"]),
        ("%", 2, ["'%'", "binary", "+", "max", "{x} * {y}"]),
        ("ema({x}, {y} * g)", 2, ["scalar"]),
    ],
)
def test_words_that_are_none_are_refused_with_what_is_allowed(
    word: str, places: int, parts: list[str]
) -> None:
    why = fault(spelt(word, places), places) or ""
    assert all(part in why for part in parts), why


def test_every_word_of_the_presets_is_sound() -> None:
    for lists in (NOS, SIGN, FULL):
        for places, words in enumerate((lists.operands, lists.unary, lists.binary)):
            assert [fault(word, places) for word in words] == [None] * len(words)
            assert [spelt(word, places) for word in words] == list(words)
    assert kind_of(tree_of("ema(ld, 0.9)", 0)) is None


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


@pytest.mark.parametrize("preset", ["sign", "nos"])
def test_the_sign_language_says_powersign_and_addsign(preset: str) -> None:
    language = Language(LanguageSettings(preset=preset, groups=3))  # type: ignore[arg-type]
    power = [*AGREEMENT, "r1", "g", "exp({x})", "{x}", "{x} * {y}"]
    power += ["r2", "1", "{x}", "{x}", "{x}"]
    add = [*AGREEMENT, "1", "r1", "{x}", "{x}", "{x} + {y}", "r2", "g", "{x}", "{x}", "{x} * {y}"]
    for words, rule in (
        (power, "exp(sign(g) * sign(m)) * g"),
        (add, "(1 + sign(g) * sign(m)) * g"),
    ):
        assert canonical_text(language.decode(find(language, *words))) == canonical_text(rule)
