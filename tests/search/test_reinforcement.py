import math
import statistics
from collections import Counter

import pytest
import torch

from dsl.candidate import Candidate, Proposal
from dsl.fingerprint import fingerprint
from dsl.likeness import likeness
from dsl.outcome import Outcome, TrialState
from search.discovery import rule_of
from search.distinct import ALIKE, distinct
from search.language import Language, Sayable
from search.reinforcement import ReinforcementStrategy
from search.reward import FLOOR
from search.settings import LanguageSettings, Objective
from search.words import Lists
from tests.search.searching import FAST, at_random, judged, nos, reinforcement, search, small, taste


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
    baseline = strategy.learner.baseline
    most = baseline.mean - FAST.novelty * math.sqrt(baseline.square)
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

    def listen(tokens: object, log_probs: object, rewards: object, *more: object) -> None:
        heard.extend(rewards.tolist())  # type: ignore[attr-defined]
        learn(tokens, log_probs, rewards, *more)  # type: ignore[arg-type]

    strategy.learner.learn = listen  # type: ignore[method-assign, assignment]
    strategy.tell([judged(p, 0.05) for p in second])
    rewards = {p.number: -math.log(0.1 * (1 + p.number)) for p in first}
    rewards |= {p.number: -math.log(0.05) for p in second}
    known = [FLOOR["negative_log"]] * numbers[-1]
    known += [min(rewards[r["number"]], most) for r in repeats if r["number"] >= 0]
    assert sorted(heard) == pytest.approx(sorted([*known, *[-math.log(0.05)] * len(second)]))


def test_nothing_is_learnt_before_enough_rules_have_trained() -> None:
    settings = FAST.model_copy(update={"first": 12, "replay": 4})
    strategy = reinforcement(nos(), 200, settings=settings)
    before = strategy.learner.controller.embedding.weight.clone()
    for living in (8, 2):  # those at the floor have not trained
        asked = strategy.ask(8)
        bad = [
            Outcome(number=p.number, state=TrialState.INFEASIBLE, reason="nan")
            for p in asked[living:]
        ]
        strategy.tell([*bad, *(judged(p, 0.1 + p.number) for p in asked[:living])])
    assert strategy.learner.controller.embedding.weight.equal(before)
    assert [number for _, number, _ in strategy._best[:4]] == [0, 1, 2, 3], "but they are known"
    strategy.tell([judged(p, 1.0) for p in strategy.ask(2)])
    assert not strategy.learner.controller.embedding.weight.equal(before)


def test_one_in_eight_of_what_trained_is_imitated() -> None:
    strategy = reinforcement(nos(), 200)
    for trained, imitated in ((8, 1), (24, 3), (120, 10)):
        asked = strategy.ask(trained - strategy._ledger.next)
        strategy.tell([judged(p, 0.01 + 0.01 * p.number) for p in asked])
        best = strategy._imitated()
        assert best is not None
        assert best.tolist() == [tokens for _, _, tokens in strategy._best[:imitated]]


def test_memory_of_what_is_learnt_stays_small() -> None:
    strategy = reinforcement(nos(1), 60, settings=FAST.model_copy(update={"leaders": 10}))
    waiting = strategy.ask(8)
    strategy.tell([taste(p) for p in waiting[1:]])
    assert strategy._beyond == set(range(1, 8))
    strategy.abandon([0])
    assert (strategy._below, strategy._beyond) == (8, set())
    for _ in range(2):  # until it knows as many good rules as it remembers
        strategy.tell([taste(p) for p in strategy.ask(16)])
    before = len(strategy.snapshot() or b"")
    search(strategy)
    assert (strategy._below, strategy._beyond) == (60, set())
    assert len(strategy.snapshot() or b"") < before + 64


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


def test_a_controller_that_finds_nothing_better_is_replaced_and_keeps_what_is_known() -> None:
    settings = FAST.model_copy(update={"patience": 32, "replay": 4})
    strategy = reinforcement(nos(), 200, settings=settings)
    first = strategy.ask(8)
    strategy.tell([judged(p, 0.01 * (1 + p.number)) for p in first])
    heard = strategy.learner.baseline.heard
    before = strategy.learner.controller
    for _ in range(3):
        strategy.tell([judged(p, 5.0) for p in strategy.ask(8)])
    assert strategy.learner.controller is before
    strategy.tell([judged(p, 5.0) for p in strategy.ask(8)])
    assert strategy.learner.controller is not before
    assert strategy.learner.baseline.heard > heard
    assert [number for _, number, _ in strategy._best[:4]] == [0, 1, 2, 3]
    again = reinforcement(nos(), 200, settings=settings)
    again.restore([], strategy.snapshot())
    mine, theirs = again.learner.controller, strategy.learner.controller
    assert mine.embedding.weight.equal(theirs.embedding.weight)
    strategy.tell([judged(p, 0.001) for p in strategy.ask(8)])
    assert strategy._in_vain == 0


def test_the_best_strings_grow_likelier_and_a_share_of_repeats_raises_the_entropy() -> None:
    settings = FAST.model_copy(update={"imitation": 0.5, "replay": 2})
    strategy = reinforcement(nos(), 200, settings=settings)
    strategy.tell([judged(p, 0.1 + p.number) for p in strategy.ask(8)])
    best = torch.tensor([tokens for _, _, tokens in strategy._best[:2]])
    likely = [strategy.learner.controller.score(best).log_probs.mean().item()]
    for _ in range(3):
        strategy.tell([judged(p, 2.0) for p in strategy.ask(8)])
        likely.append(strategy.learner.controller.score(best).log_probs.mean().item())
    assert likely == sorted(likely)
    assert likely[-1] > likely[0] + 1.0


def test_the_memo_says_how_many_rules_were_sampled() -> None:
    rows = search(reinforcement(small(), 1000))
    memos = [proposal.memo for proposal, _ in rows]
    assert memos[0]["sampled"] >= 16
    assert memos[-1]["sampled"] > len(rows)
    assert all(0.0 < memo["fresh"] <= 1.0 for memo in memos)


def plain(language: Sayable, budget: int, leaders: int = 64) -> ReinforcementStrategy:
    """Without weight decay, beside which no likeness can be told."""
    settings = FAST.model_copy(update={"leaders": leaders})
    template = Candidate(rule="g", seed=3)
    return ReinforcementStrategy(language, Objective(), budget, template, 0, settings)


def test_near_copies_of_the_best_are_put_off_and_taken_for_them() -> None:
    strategy = plain(nos(), 64)
    while not strategy.finished:
        leaders = [strategy._said(best) for best in strategy._best]
        proposals = strategy.ask(16)
        asked = [proposal.candidate for proposal in proposals]
        assert distinct(asked, 16, leaders) == list(range(16))
        strategy.tell([taste(p) for p in proposals])
        assert len(distinct(leaders, 64)) == len(leaders)
    assert len(leaders) > FAST.replay
    rules = {p.number: p.candidate for p in proposals}
    rules |= {number: strategy._said(best) for best in strategy._best for number in best[1:2]}
    near = 0
    for proposal in proposals:
        for repeat in proposal.memo["repeats"]:
            known = rules.get(repeat["number"])
            rule = rule_of(strategy.language.decode(repeat["tokens"]))
            if known is not None and rule is not None:
                near += fingerprint(rule) != fingerprint(known.rule)
                assert likeness(rule, known.rule) > ALIKE
    assert near


def test_near_copies_are_tried_where_nothing_else_is_left() -> None:
    lists = Lists(("g", "m", "w / 10000"), ("{x}", "sign({x})"), ("{x} + {y}",))
    strategy = plain(Language(LanguageSettings(groups=1), lists), 1000)
    rows = search(strategy)
    tried = [proposal.candidate for proposal, _ in rows]
    assert len(distinct(tried, 1000)) < len(tried)
    every = plain(strategy.language, 1000, leaders=0)
    assert {p.candidate.rule for p, _ in search(every)} == {each.rule for each in tried}


def test_a_search_of_an_earlier_version_goes_on_without_near_copies() -> None:
    former = plain(nos(), 96, leaders=0)
    rows = []
    for _ in range(4):
        proposals = former.ask(16)
        rows += [(proposal, taste(proposal)) for proposal in proposals]
        former.tell([outcome for _, outcome in rows[-16:]])
    strategy = plain(nos(), 96)
    strategy.restore(rows, former.snapshot())
    assert strategy._best == former._best
    again = search(strategy)
    assert [proposal.number for proposal, _ in again] == list(range(64, 96))
    best = [strategy._said(best) for best in strategy._best]
    assert len(distinct(best, 64)) == len(best)
