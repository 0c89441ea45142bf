import statistics

import pytest

from dsl.candidate import Candidate, Proposal
from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.likeness import likeness
from dsl.outcome import Outcome, TrialState
from search.distinct import ALIKE
from search.evolution import EvolutionStrategy
from search.kinship import Kinship
from tests.search.searching import at_random, evolution, judged, nos, search, taste

Rows = list[tuple[Proposal, Outcome]]


def loss(outcome: Outcome) -> float:
    return outcome.metrics.get("validation_loss", 10.0)


def search_until(strategy: EvolutionStrategy, rules: int) -> Rows:
    rows: Rows = []
    while len(rows) < rules:
        proposals = strategy.ask(8)
        outcomes = [taste(proposal) for proposal in proposals]
        strategy.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    return rows


def test_children_are_better_than_chance() -> None:
    for seed in (1, 2):
        ours, theirs = search(evolution(nos(), 160, seed)), search(at_random(nos(), 160, seed))
        late = [statistics.median(loss(o) for _, o in rows[-60:]) for rows in (ours, theirs)]
        assert late[0] < 0.5 * late[1]


def test_the_first_rules_are_those_to_start_from() -> None:
    strategy = evolution(nos(), 30, start=("adam", "beta = 0.5\nema(g, beta)", "g * 2", "g"))
    rules = [proposal.candidate.rule for proposal in strategy.ask(5)]
    # under decay g and 2 g are two rules
    assert rules[:4] == [canonical_text(r) for r in ("adam", "ema(g, 0.5)", "2 * g", "g")]
    with pytest.raises(RuleError, match="Unknown name"):
        evolution(nos(), 30, start=("adam", "grad"))


def test_parents_are_of_the_population_and_win_their_tournament() -> None:
    rows = search(evolution(nos(), 96, tournament=24, crossover=0.0), population=8)
    for at in range(48, 96, 8):
        told = [(p.number, p.candidate.rule, -loss(o)) for p, o in rows[:at] if loss(o) < 10]
        living = {number: (rule, reward) for number, rule, reward in sorted(told)[-24:]}
        fallen = [(p.candidate.rule, -10.0) for p, o in rows[:at] if loss(o) == 10][-24:]
        kin = Kinship([*fallen, *living.values()])
        best = max(kin.expected(rule) for rule, _ in living.values())
        for proposal, _ in rows[at : at + 8]:
            (parent,) = proposal.memo["parents"]
            assert kin.expected(living[parent][0]) == best


def test_the_oldest_die_however_good() -> None:
    strategy = evolution(nos(), 200, population=8, tournament=8, crossover=0.0)
    first = strategy.ask(8)
    strategy.tell([judged(p, 0.01 if p.number == 0 else 0.1 * p.number) for p in first])
    second = strategy.ask(8)
    assert {p.memo["parents"][0] for p in second} == {0}
    strategy.tell([judged(p, 0.1 * p.number) for p in second])
    assert {p.memo["parents"][0] for p in strategy.ask(8)} <= set(range(8, 16))


def test_one_lucky_rule_is_less_than_a_family_of_good_ones() -> None:
    family = ("m", "m + 0.0001 * g", "m - 0.0001 * sign(g)", "m + 0.0002 * w")
    lucky = ("adam", "adam + 0.0001 * g", "adam - 0.0001 * sign(g)", "adam + 0.0002 * w")
    strategy = evolution(nos(), 99, population=8, tournament=8, crossover=0.0, start=family + lucky)
    losses = (0.2, 0.22, 0.21, 0.2, 0.19, 0.5, 0.6, 0.7)
    strategy.tell([judged(p, x) for p, x in zip(strategy.ask(8), losses, strict=True)])
    # the best of all is 4, whose near-copies are the worst
    assert {p.memo["parents"][0] for p in strategy.ask(8)} <= {0, 1, 2, 3}


def test_kin_of_the_fallen_are_less_promising() -> None:
    """Of two rules that did the same, the one whose near-copies diverged has no children."""
    strategy = evolution(nos(), 200, first=2, crossover=0.0, tournament=2, strings=0.0)
    rules = ("sign(g)", "rmsprop", *(f"sign(g) * {2 + k} + clip(w, 0.0001)" for k in range(6)))
    asked = [
        Proposal(number=n, candidate=Candidate(rule=canonical_text(rule)), memo={})
        for n, rule in enumerate(rules)
    ]
    fell = {"state": TrialState.INFEASIBLE, "reason": "diverged"}
    kept = {"state": TrialState.COMPLETE, "metrics": {"validation_loss": 0.1}}
    told = [Outcome(number=n, **(kept if n < 2 else fell)) for n in range(len(rules))]
    strategy.restore(list(zip(asked, told, strict=True)), None)
    children = strategy.ask(12)
    assert {parent for child in children for parent in child.memo["parents"]} == {1}


def test_children_are_no_near_copies_of_the_living_or_of_each_other() -> None:
    strategy = evolution(nos(), 99, population=16, tournament=16, first=8, brood=4, copies=0.0)
    rows = search_until(strategy, 40)
    living = [p.candidate.rule for p, o in rows if loss(o) < 10][-16:]
    rules = [strategy.ask(1)[0].candidate.rule for _ in range(8)] + [
        proposal.candidate.rule for proposal in strategy.ask(24)
    ]
    for i, rule in enumerate(rules):
        assert not any(likeness(rule, other) > ALIKE for other in [*living, *rules[:i]])


def test_the_most_promising_of_a_brood_is_trained() -> None:
    def late(brood: int) -> float:
        strategy = evolution(nos(), 99, 5, brood=brood, strings=1.0, first=16)
        losses: list[float] = []
        while len(losses) < 64:
            proposals = strategy.ask(8)
            own = [1.01 - max(-1.0, likeness(p.candidate.rule, "sign(m)")) for p in proposals]
            own = [2.0 if loss != loss else loss for loss in own]  # NaN: nothing is like it
            strategy.tell([judged(p, loss) for p, loss in zip(proposals, own, strict=True)])
            losses += own
        return statistics.fmean(losses[-32:])

    assert late(8) < 0.8 * late(1)


def test_near_copies_of_the_living_are_born_where_they_may() -> None:
    def copies(share: float) -> int:
        strategy = evolution(nos(), 99, 5, first=16, brood=4, copies=share)
        rows = search_until(strategy, 40)
        kin = Kinship([(p.candidate.rule, -loss(o)) for p, o in rows if loss(o) < 10][-24:])
        return sum(kin.is_near(proposal.candidate.rule) for proposal in strategy.ask(16))

    assert copies(0.0) == 0
    assert copies(1.0) > 2


def test_rules_that_diverged_have_no_children() -> None:
    strategy = evolution(nos(), 200, population=8, tournament=1, first=1)
    first = strategy.ask(8)
    bad = [Outcome(number=p.number, state=TrialState.INFEASIBLE, reason="nan") for p in first[:7]]
    strategy.tell([*bad, judged(first[7], 1.0)])
    parents = {n for p in strategy.ask(16) for n in p.memo["parents"]}
    assert parents == {7}


def test_children_are_born_once_enough_rules_have_trained() -> None:
    strategy = evolution(nos(), 200, first=6)

    def answered(living: int) -> set[str]:
        proposals = strategy.ask(8)
        bad = [
            Outcome(number=p.number, state=TrialState.INFEASIBLE, reason="nan")
            for p in proposals[living:]
        ]
        strategy.tell([*bad, *(judged(p, 1.0) for p in proposals[:living])])
        return {"string" if p.memo["change"] == "string" else "child" for p in proposals}

    assert answered(0) == answered(4) == answered(2) == {"string"}
    assert answered(8) == {"child"}


def test_where_hardly_a_rule_trains_children_are_made_of_those_few() -> None:
    strategy = evolution(nos(), 200, first=4)
    first = strategy.ask(32)
    bad = [Outcome(number=p.number, state=TrialState.INFEASIBLE, reason="nan") for p in first[1:]]
    strategy.tell([judged(first[0], 1.0), *bad])
    assert {p.memo["parents"][0] for p in strategy.ask(8)} == {0}


def test_late_answers_make_the_same_population() -> None:
    one, two = (evolution(nos(), 100) for _ in range(2))
    for strategy, order in ((one, 1), (two, -1)):
        outcomes = [taste(p) for p in strategy.ask(40)][::order]
        strategy.tell(outcomes[:13])
        strategy.tell(outcomes[13:])
    assert one.ask(20) == two.ask(20)


def test_what_is_sampled_is_counted_and_survives_a_restart() -> None:
    strategy: EvolutionStrategy = evolution(nos(), 100)
    rows = search(strategy)
    assert strategy.sampled >= 100
    assert rows[-1][0].memo["sampled"] == strategy.sampled
    again = evolution(nos(), 100)
    again.restore(rows, None)
    assert again.sampled == strategy.sampled
