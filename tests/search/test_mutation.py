import random
from collections import Counter

import pytest

from dsl.canonical import canonical_text
from dsl.expression import Call, Expression, Name, Node, Number
from dsl.text import format_rule, parse
from dsl.validate import checked
from search.language import Language
from search.mutation import Variation, inlined
from search.settings import LanguageSettings
from search.words import Lists, extent
from tests.search.searching import nos

RULES = ["m / (sqrt(v) + eps)", "exp(sign(g) * sign(m)) * g", "g", "trace(g, 0.9) + 0.1 * w"]


def text(tree: Node) -> str:
    return format_rule(Expression((), tree))


def full() -> Language:
    return Language(LanguageSettings(preset="full", groups=3))


def test_lines_are_read_in() -> None:
    assert text(inlined("beta = 0.5\na = ema(g, beta)\nb = a * a\nb + a")) == (
        "ema(g, 0.5) * ema(g, 0.5) + ema(g, 0.5)"
    )
    for rule in RULES:
        assert canonical_text(text(inlined(rule))) == canonical_text(rule)


@pytest.mark.parametrize("language", [nos(2), full()], ids=["nos", "full"])
def test_every_change_is_a_typed_rule_of_bounded_size(language: Language) -> None:
    variation = Variation(language, constants=True, room=tuple(map(inlined, RULES)))
    draw = random.Random(0)
    changes: Counter[str] = Counter()
    trees = [inlined(rule) for rule in RULES]
    for _ in range(400):
        tree, other = draw.choice(trees), draw.choice(trees)
        crossed, name = variation.crossed(tree, other, draw)
        mutated, change = variation.mutated(tree, draw)
        changes.update([name, change])
        for new in (crossed, mutated):
            checked(parse(text(new)))
            assert extent(new).nodes <= variation.most.nodes
            assert extent(new).depth <= variation.most.depth
        trees.append(mutated)
    assert changes["none"] < 40
    kinds = ("operand", "operator", "grown", "wrapped", "shortened", "constant", "crossover")
    assert all(changes[kind] > 10 for kind in kinds), changes


def test_a_change_is_one_change() -> None:
    variation = Variation(nos(2), constants=False)
    tree = inlined("exp(sign(g) * sign(m)) * g")
    draw = random.Random(1)
    for _ in range(200):
        new, change = variation.mutated(tree, draw)
        before, after = extent(tree).nodes, extent(new).nodes
        assert new != tree
        if change == "shortened":
            assert after < before
        if change == "wrapped":
            assert after > before


def test_without_constants_the_numbers_of_operators_stay() -> None:
    variation = Variation(nos(2), constants=False)
    draw = random.Random(2)
    for _ in range(300):
        new, _ = variation.mutated(inlined("m / (sqrt(v) + 0.25)"), draw)
        numbers = {n.value for n in leaves(new) if isinstance(n, Number)}
        own = {1e-8, 1e-5, 1e-4, 1e-3, 0.1, 0.01, 0.3, 0.5, 1.0, 2.0, 3.0}
        assert numbers <= own | {0.25}


def test_weights_of_the_past_stay_below_one_and_search_near_it() -> None:
    bare = Lists(("g", "m"), ("{x}",), ("{x}",))
    variation = Variation(Language(LanguageSettings(groups=1), bare), constants=True)
    draw = random.Random(3)
    betas = []
    for _ in range(400):
        new, change = variation.mutated(inlined("ema(g, 0.99)"), draw)
        if change == "constant":
            assert isinstance(new, Call)
            number = new.arguments[1]
            assert isinstance(number, Number)
            betas.append(number.value)
    assert len(betas) > 30
    assert all(0.0 <= beta < 1.0 for beta in betas)
    assert max(betas) > 0.995
    assert min(betas) < 0.98


def leaves(tree: Node) -> list[Node]:
    if isinstance(tree, Call):
        return [leaf for argument in tree.arguments for leaf in leaves(argument)]
    return [tree]


def test_parts_that_are_no_words_are_kept_and_moved() -> None:
    variation = Variation(nos(2), constants=False, room=(inlined("trace(g, 0.9) * w"),))
    draw = random.Random(4)
    tree = inlined("trace(g, 0.9) * w")
    kept = [variation.mutated(tree, draw)[0] for _ in range(100)]
    assert sum("trace(" in text(new) for new in kept) > 40
    assert any(new == Name("g") or "trace" not in text(new) for new in kept)
