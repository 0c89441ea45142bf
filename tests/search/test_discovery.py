import math
import statistics
from collections import Counter

import pytest
import torch

from dsl.candidate import Candidate, Proposal
from dsl.canonical import canonical_text
from dsl.fingerprint import fingerprint
from dsl.outcome import Outcome, TrialState
from search.controller import Sample
from search.discovery import RandomStrategy, ReinforcementStrategy, RuleStrategy, rule_of
from search.language import Language
from search.reward import FLOOR
from search.settings import LanguageSettings, Objective, Reinforcement
from search.words import Lists

TEMPLATE = Candidate(rule="m", decay="decoupled", weight_decay=0.1, seed=3)
SMALL = Lists(("g", "m", "1"), ("{x}", "sign({x})"), ("{x} * {y}", "{x} + {y}"))
FAST = Reinforcement(hidden=24, learning_rate=0.01)


def nos(groups: int = 2) -> Language:
    return Language(LanguageSettings(groups=groups))


def small() -> Language:
    return Language(LanguageSettings(groups=1), SMALL)


def reinforcement(
    language: Language, budget: int, seed: int = 0, settings: Reinforcement = FAST
) -> ReinforcementStrategy:
    return ReinforcementStrategy(language, Objective(), budget, TEMPLATE, seed, settings)


def at_random(language: Language, budget: int, seed: int = 0) -> RandomStrategy:
    return RandomStrategy(language, Objective(), budget, TEMPLATE, seed)


def judged(proposal: Proposal, loss: float) -> Outcome:
    metrics = {"validation_loss": loss}
    return Outcome(number=proposal.number, state=TrialState.COMPLETE, metrics=metrics)


def taste(proposal: Proposal) -> Outcome:
    """A landscape with structure: signs and sign agreement are good, clipping is bad."""
    rule = proposal.candidate.rule
    if "log" in rule:
        return Outcome(number=proposal.number, state=TrialState.INFEASIBLE, reason="diverged")
    good = 0.5 * rule.count("sign(g)") + 0.5 * rule.count("sign(m)") + rule.count("exp")
    bad = 0.7 * rule.count("clip") + 0.4 * rule.count("drop") + 0.3 * rule.count("w")
    return judged(proposal, 2.3 * 2.718 ** (bad - min(good, 3)))


def search(strategy: RuleStrategy, population: int = 16) -> list[tuple[Proposal, Outcome]]:
    rows: list[tuple[Proposal, Outcome]] = []
    while not strategy.finished:
        proposals = strategy.ask(population)
        outcomes = [taste(proposal) for proposal in proposals]
        strategy.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    return rows


@pytest.mark.parametrize("make", [at_random, reinforcement])
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


def test_rules_that_a_static_check_refuses_have_no_canonical_text() -> None:
    assert rule_of("2 + 1") is None
    assert rule_of("exp(0.1 * w)") is None
    assert rule_of("g * log(abs(1))") is None
    assert rule_of("g + (") is None
    assert rule_of("g * m") == rule_of("m * g") == canonical_text("m * g")


def test_the_controller_learns_where_good_rules_are() -> None:
    seeds = range(1, 3)
    learnt = [search(reinforcement(nos(), 240, seed)) for seed in seeds]
    chance = [search(at_random(nos(), 240, seed)) for seed in seeds]

    def late(rows: list[tuple[Proposal, Outcome]]) -> float:
        return statistics.median(o.metrics.get("validation_loss", 10.0) for _, o in rows[-80:])

    for ours, theirs in zip(learnt, chance, strict=True):
        assert late(ours) < 0.5 * late(theirs)


def test_novelty_does_not_stall_when_the_controller_has_a_favourite() -> None:
    strategy = reinforcement(nos(), 400)
    head = strategy.learner.controller.heads
    for place in range(10):  # all mass on the first legal token, at every place
        head[place].bias.data[:] = -40.0 * _rank(strategy.language)
    proposals = strategy.ask(32)
    assert len({proposal.candidate.rule for proposal in proposals}) == 32
    assert any(proposal.memo["repeats"] for proposal in proposals)


def _rank(language: Language) -> torch.Tensor:
    return torch.arange(language.vocabulary, dtype=torch.float32) / language.vocabulary


def test_known_rules_teach_again_when_they_are_drawn_again() -> None:
    strategy = reinforcement(small(), 40)
    first = strategy.ask(8)
    strategy.tell([judged(p, 0.1 * (1 + p.number)) for p in first])
    baseline = strategy.learner.baseline.mean
    second = strategy.ask(8)
    repeats = [repeat for proposal in second for repeat in proposal.memo["repeats"]]
    numbers = Counter(repeat["number"] for repeat in repeats)
    assert set(numbers) & set(range(8)), "with so few rules some come again"
    for repeat in repeats:
        rule = rule_of(strategy.language.decode(repeat["tokens"]))
        known = {p.candidate.rule: p.number for p in [*first, *second]}
        assert (repeat["number"] == -1) is (rule is None)
        assert rule is None or known[rule] == repeat["number"]

    heard: list[float] = []
    learn = strategy.learner.learn

    def listen(tokens: object, log_probs: object, rewards: object, generator: object) -> None:
        heard.extend(rewards.tolist())  # type: ignore[attr-defined]
        learn(tokens, log_probs, rewards, generator)  # type: ignore[arg-type]

    strategy.learner.learn = listen  # type: ignore[method-assign, assignment]
    strategy.tell([judged(p, 0.05) for p in second])
    rewards = {p.number: -math.log(0.1 * (1 + p.number)) for p in first}
    rewards |= {p.number: -math.log(0.05) for p in second}
    known = [FLOOR["negative_log"]] * numbers[-1]
    known += [min(rewards[r["number"]], baseline) for r in repeats if r["number"] >= 0]
    assert sorted(heard) == pytest.approx(sorted([*known, *[-math.log(0.05)] * len(second)]))


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


def test_memory_of_what_is_learnt_stays_small() -> None:
    strategy = reinforcement(nos(1), 60)
    waiting = strategy.ask(8)
    strategy.tell([taste(p) for p in waiting[1:]])
    assert strategy._beyond == set(range(1, 8))
    strategy.abandon([0])
    assert (strategy._below, strategy._beyond) == (8, set())
    before = len(strategy.snapshot() or b"")
    search(strategy)
    assert (strategy._below, strategy._beyond) == (60, set())
    assert len(strategy.snapshot() or b"") < before + 64


@pytest.mark.parametrize("make", [at_random, reinforcement])
def test_a_restored_search_knows_the_rules_of_the_one_before(make: type) -> None:
    rows = search(make(small(), 8), 4)
    again = make(small(), 1000)
    again.restore([*rows[:-1], (rows[-1][0], None)], None)
    assert again.ask(1) == [rows[-1][0]]
    again.tell([rows[-1][1]])
    rules = [proposal.candidate.rule for proposal, _ in [*rows, *search(again, 4)]]
    assert len(rules) == len(set(rules)) > 8


def test_a_controller_without_its_snapshot_is_taught_anew_from_the_rows() -> None:
    rows = search(reinforcement(nos(), 96), 32)
    again = reinforcement(nos(), 97)
    again.restore(rows, None)
    assert again._below == 96
    before = reinforcement(nos(), 97).learner.controller
    good = [p for p, o in rows if o.metrics and o.metrics["validation_loss"] < 1.0]
    tokens = torch.tensor([proposal.memo["tokens"] for proposal in good])
    gain = again.learner.controller.score(tokens).log_probs - before.score(tokens).log_probs
    assert gain.mean() > 1.0
