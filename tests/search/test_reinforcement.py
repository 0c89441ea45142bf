import math
import statistics
from collections import Counter

import pytest
import torch

from dsl.candidate import Proposal
from dsl.outcome import Outcome, TrialState
from search.discovery import rule_of
from search.language import Language
from search.reward import FLOOR
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
    assert [number for _, number, _ in strategy._best] == [0, 1, 2, 3], "but the best are known"
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
    strategy = reinforcement(nos(1), 60)
    waiting = strategy.ask(8)
    strategy.tell([taste(p) for p in waiting[1:]])
    assert strategy._beyond == set(range(1, 8))
    strategy.abandon([0])
    assert (strategy._below, strategy._beyond) == (8, set())
    for _ in range(2):  # until it knows as many good strings as it learns from again
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
    assert [number for _, number, _ in strategy._best] == [0, 1, 2, 3]
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
    best = torch.tensor([tokens for _, _, tokens in strategy._best])
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
