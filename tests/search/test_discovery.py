import pytest

from dsl.candidate import Candidate
from dsl.canonical import canonical_text
from dsl.fingerprint import fingerprint
from search.controller import Sample
from search.discovery import RandomStrategy, rule_of
from search.identity import named
from search.language import Language
from search.reinforcement import ReinforcementStrategy
from search.settings import LanguageSettings, Objective
from search.words import Lists
from tests.search.searching import (
    FAST,
    TEMPLATE,
    at_random,
    evolution,
    nos,
    reinforcement,
    search,
    small,
)


@pytest.mark.parametrize("make", [at_random, reinforcement, evolution])
def test_every_rule_is_new_canonical_and_sound(make: type) -> None:
    rows = search(make(nos(), 150))
    rules = [proposal.candidate.rule for proposal, _ in rows]
    assert len(rules) == len(set(rules)) == 150
    assert all(rule_of(rule) == canonical_text(rule) == rule for rule in rules)
    for proposal, _ in rows:
        assert proposal.candidate.model_copy(update={"rule": "m"}) == TEMPLATE


@pytest.mark.parametrize("make", [at_random, reinforcement])
def test_a_small_language_is_searched_to_its_end(make: type) -> None:
    language = small()
    every = {rule_of(language.decode(string)) for string in language.strings()} - {None}
    strategy = make(language, 1000)
    rows = search(strategy)
    assert {proposal.candidate.rule for proposal, _ in rows} == every
    assert len(rows) == len(every) < language.size


TWINS = Lists(("g", "m", "2"), ("{x}", "exp({x})", "2 * {x}"), ("{x} * {y}", "exp({x} + {y})"))


@pytest.mark.parametrize(("decay", "scales"), [("none", False), ("decoupled", True)])
@pytest.mark.parametrize("strategy", [RandomStrategy, ReinforcementStrategy])
def test_a_rule_that_behaves_as_a_known_one_is_not_tried(
    strategy: type, decay: str, scales: bool
) -> None:
    language = Language(LanguageSettings(groups=1), TWINS)
    template = Candidate(rule="g", decay=decay, weight_decay=0.1)
    more = (FAST,) if strategy is ReinforcementStrategy else ()
    rows = search(strategy(language, Objective(), 1000, template, 0, *more))
    tried = [proposal.candidate.rule for proposal, _ in rows]
    forms = {rule_of(language.decode(string)) for string in language.strings()} - {None}
    prints = {fingerprint(form, scale_free=not scales) for form in forms}
    assert len(tried) == len(prints) < len(forms)
    assert {fingerprint(rule, scale_free=not scales) for rule in tried} == prints
    again = strategy(language, Objective(), 1000, template, 0, *more)
    again.restore(rows[:9], None)
    rest = {fingerprint(p.candidate.rule, scale_free=not scales) for p, _ in search(again)}
    assert rest == prints - {fingerprint(rule, scale_free=not scales) for rule in tried[:9]}


def test_a_job_that_an_earlier_version_began_tries_no_rule_twice() -> None:
    language = Language(LanguageSettings(groups=1), TWINS)
    whole = search(RandomStrategy(language, Objective(), 1000, TEMPLATE, 0))
    begun = [(p.model_copy(update={"behaviour": "00" * 16}), o) for p, o in whole[:9]]
    again = RandomStrategy(language, Objective(), 1000, TEMPLATE, 0)
    again.restore(begun, None)
    rest = search(again)
    names = [named(proposal.candidate) for proposal, _ in [*begun, *rest]]
    assert len(names) == len(set(names)) == len(whole)


def test_rules_that_a_static_check_refuses_have_no_canonical_text() -> None:
    assert rule_of("2 + 1") is None
    assert rule_of("exp(0.1 * w)") is None
    assert rule_of("g * log(abs(1))") is None
    assert rule_of("g + (") is None
    assert rule_of("g * m") == rule_of("m * g") == canonical_text("m * g")


def test_the_budget_counts_distinct_rules_not_samples() -> None:
    drawn = 0

    class Counted(RandomStrategy):
        def _draw(self, count: int, temperature: float, generator: object) -> Sample:
            nonlocal drawn
            drawn += count
            return super()._draw(count, temperature, generator)  # type: ignore[arg-type]

    strategy = Counted(small(), Objective(), 12, TEMPLATE, 0)
    assert len(search(strategy, 6)) == 12
    assert drawn > 12


def test_a_search_of_any_seed_is_its_own() -> None:
    one, two = (at_random(nos(), 20, seed).ask(20) for seed in (1, 2))
    assert [p.candidate.rule for p in one] != [p.candidate.rule for p in two]
    weights = [
        reinforcement(nos(), 20, seed).learner.controller.embedding.weight for seed in (1, 2)
    ]
    assert not weights[0].equal(weights[1])


@pytest.mark.parametrize("make", [at_random, reinforcement])
def test_a_restored_search_knows_the_rules_of_the_one_before(make: type) -> None:
    rows = search(make(small(), 8), 4)
    again = make(small(), 1000)
    again.restore([*rows[:-1], (rows[-1][0], None)], None)
    assert again.ask(1) == [rows[-1][0]]
    again.tell([rows[-1][1]])
    rules = [proposal.candidate.rule for proposal, _ in [*rows, *search(again, 4)]]
    assert len(rules) == len(set(rules)) > 8
