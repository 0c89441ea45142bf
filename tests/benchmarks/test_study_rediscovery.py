"""The study of rediscovery, small: what a search of a few rules is said to have found."""

import pytest
import torch

from dsl.agreement import acts_on_agreement
from search.settings import LanguageSettings
from tests.benchmarks.study_rediscovery import (
    GROUPS,
    MARK,
    RULES,
    SEARCHES,
    Found,
    look,
    report,
)


def test_a_search_says_which_of_its_best_rules_acts_on_agreement() -> None:
    threads = torch.get_num_threads()
    found = look(MARK, 0, 2)
    torch.set_num_threads(threads)
    assert (found.search, found.seed, found.trained) == (MARK, 0, 2)
    assert found.minutes > 0
    assert acts_on_agreement(found.rule) == (found.place is not None)


def test_searches_with_such_a_rule_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, wanted = [], []

    def record(*told: object, **more: object) -> None:
        kept.append(told)
        wanted.append(more)

    monkeypatch.setattr("tests.benchmarks.study_rediscovery.record", record)
    places = dict(zip(SEARCHES, [(1, None, 7), (None, None, 2)], strict=False))
    found = [
        Found(search, seed, RULES, 1.0, place, "g")
        for search, own in places.items()
        for seed, place in enumerate(own)
    ]
    report(found, RULES)
    assert (
        "sign, reinforcement, digits-mlp: a rule that acts on agreement among the ten best from "
        "2 of 3 seeds"
    ) in capsys.readouterr().out
    assert [told[1] for told in kept] == [2, 1]
    assert [more["at_least"] is not None for more in wanted] == [True, False]


def test_the_language_says_neither_powersign_nor_addsign_in_a_word() -> None:
    lists = LanguageSettings(preset="sign", groups=GROUPS).lists()
    words = [
        word.replace("{x}", "g").replace("{y}", "m")
        for word in (*lists.operands, *lists.unary, *lists.binary)
    ]
    assert not any(acts_on_agreement(word) for word in words if "g" in word or "m" in word)
