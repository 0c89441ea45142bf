import statistics

import pytest

from dsl.candidate import Proposal
from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.outcome import Outcome, TrialState
from search.evolution import EvolutionStrategy
from tests.search.searching import at_random, evolution, judged, nos, search, taste

Rows = list[tuple[Proposal, Outcome]]


def loss(outcome: Outcome) -> float:
    return outcome.metrics.get("validation_loss", 10.0)


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
    rows = search(evolution(nos(), 120, tournament=24, crossover=0.0), population=8)
    for at in range(48, 120, 8):
        told = [(p.number, loss(o)) for p, o in rows[:at] if loss(o) < 10]
        best = min(sorted(told)[-24:], key=lambda entry: entry[1])
        for proposal, _ in rows[at : at + 8]:
            (parent,) = proposal.memo["parents"]
            assert dict(told)[parent] == best[1]


def test_the_oldest_die_however_good() -> None:
    strategy = evolution(nos(), 200, population=8, tournament=8, crossover=0.0)
    first = strategy.ask(8)
    strategy.tell([judged(p, 0.01 if p.number == 0 else 0.1 * p.number) for p in first])
    second = strategy.ask(8)
    assert {p.memo["parents"][0] for p in second} == {0}
    strategy.tell([judged(p, 0.1 * p.number) for p in second])
    assert {p.memo["parents"][0] for p in strategy.ask(8)} == {8}


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
