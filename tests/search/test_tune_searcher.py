"""Populations: whole, in order, split when lost, given up when lost too often."""

import json

import pytest
from ray.tune.search import Searcher

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Origin, Outcome, TrialState
from search.comparison import WithComparison
from search.discovery import RandomStrategy
from search.identity import named
from search.language import Language, Lists
from search.sampler_settings import RandomPoints
from search.settings import LanguageSettings, Objective
from search.space import Float
from search.tune_searcher import ATTEMPTS, PopulationSearcher
from search.tuning import OptunaStrategy


def strategy(budget: int) -> OptunaStrategy:
    space = {"lr": Float(low=0.01, high=1.0)}
    random = RandomPoints()
    return OptunaStrategy(space, random, Objective(), budget, Candidate(rule="g"), seed=0)


def numbers(config: dict[str, object] | None) -> list[int]:
    assert isinstance(config, dict)
    json.dumps(config)
    population = config["population"]
    assert isinstance(population, list)
    return [Proposal.model_validate(entry).number for entry in population]


def outcomes(*answered: int) -> dict[str, object]:
    made = [
        Outcome(number=n, state=TrialState.COMPLETE, metrics={"validation_loss": 1.0 + n})
        for n in answered
    ]
    return {"outcomes": [outcome.model_dump(mode="json") for outcome in made], "lost": []}


def test_populations_are_filled_and_the_end_is_said() -> None:
    searcher = PopulationSearcher(strategy(10), population=4)
    assert [numbers(searcher.suggest(t)) for t in "abc"] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert searcher.suggest("d") is None, "answers are due"
    searcher.on_trial_complete("b", outcomes(4, 5, 6, 7))
    searcher.on_trial_complete("a", outcomes(3, 2, 1, 0))
    assert not searcher.finished
    assert searcher.suggest("d") is None
    searcher.on_trial_complete("c", outcomes(8, 9))
    assert searcher.finished
    assert searcher.suggest("d") == Searcher.FINISHED


def test_an_answer_told_twice_changes_nothing() -> None:
    searcher = PopulationSearcher(strategy(4), population=4)
    searcher.suggest("a")
    searcher.on_trial_complete("a", outcomes(0, 1, 2, 3))
    searcher.on_trial_complete("a", outcomes(0, 1, 2, 3))
    searcher.on_trial_complete("a", error=True)
    assert searcher.finished


def test_a_lost_population_is_asked_again_in_parts_until_the_culprit_is_alone() -> None:
    searcher = PopulationSearcher(strategy(32), population=32)
    culprit, given, names = 11, [], iter(range(10**6))
    while not searcher.finished:
        name = str(next(names))
        asked = numbers(searcher.suggest(name))
        given.append(asked)
        if culprit in asked:
            searcher.on_trial_complete(name, error=True)
        else:
            searcher.on_trial_complete(name, outcomes(*asked))
    with_culprit = [asked for asked in given if culprit in asked]
    assert [len(asked) for asked in with_culprit] == [32, 4, 1]
    assert len(with_culprit) == ATTEMPTS
    neighbours = [number for asked in given for number in asked if number != culprit]
    assert {n: neighbours.count(n) for n in (0, 8, 12)} == {0: 2, 8: 3, 12: 2}


def test_what_a_result_leaves_out_is_asked_again() -> None:
    searcher = PopulationSearcher(strategy(4), population=4)
    searcher.suggest("a")
    searcher.on_trial_complete("a", outcomes(0, 1, 3))
    assert numbers(searcher.suggest("b")) == [2]
    searcher.on_trial_complete("b", outcomes(2))
    assert searcher.finished


def test_an_outcome_nobody_asked_for_is_an_error() -> None:
    searcher = PopulationSearcher(strategy(8), population=4)
    searcher.suggest("a")
    with pytest.raises(KeyError):
        searcher.on_trial_complete("a", outcomes(7))


def test_a_comparison_is_spread_over_the_workers() -> None:
    baselines = [(f"rule {n}", Candidate(rule=f"{n + 2} * g")) for n in range(7)]
    compared = WithComparison(strategy(4), Objective(), 0, baselines, seed=0)
    searcher = PopulationSearcher(compared, population=32, spread=2)
    searcher.suggest("search")
    searcher.on_trial_complete("search", outcomes(0, 1, 2, 3))
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert [numbers(first), numbers(second)] == [[4, 5, 6, 7], [8, 9, 10]]
    assert first is not None
    assert {entry["stage"] for entry in first["population"]} == {Stage.COMPARISON.value}


def test_a_strategy_that_neither_asks_nor_finishes_is_an_error_not_a_hang() -> None:
    class Stuck(OptunaStrategy):
        def ask(self, count: int) -> list[Proposal]:
            return []

    random = RandomPoints()
    space = {"lr": Float(low=0.01, high=1.0)}
    stuck = Stuck(space, random, Objective(), 4, Candidate(rule="g"), seed=0)
    with pytest.raises(RuntimeError, match="waits for no answer"):
        PopulationSearcher(stuck, population=4).suggest("a")


def found(losses: dict[str, float]) -> dict[Stage, dict[str, Outcome]]:
    """Return what is known of rules by their text."""
    known = {}
    for rule, loss in losses.items():
        origin = Origin(job_id="earlier", number=7)
        known[named(Candidate(rule=rule)).hex()] = Outcome(
            number=7,
            state=TrialState.COMPLETE,
            metrics={"validation_loss": loss},
            cost_steps=620,
            cost_seconds=0.5,
            origin=origin,
        )
    return {Stage.SEARCH: known}


def discovery(budget: int) -> RandomStrategy:
    lists = Lists(("g", "m", "1"), ("{x}", "sign({x})"), ("{x} * {y}", "{x} + {y}"))
    language = Language(LanguageSettings(groups=1), lists)
    return RandomStrategy(language, Objective(), budget, Candidate(rule="g"), seed=0)


def test_what_is_known_is_told_to_the_strategy_and_not_to_a_worker() -> None:
    rules = [proposal.candidate.rule for proposal in discovery(8).ask(4)]
    searcher = PopulationSearcher(
        discovery(8), population=4, known=found({rules[1]: 0.5, f"3 * ({rules[2]})": 0.25})
    )
    assert numbers(searcher.suggest("a")) == [0, 3]
    taken = searcher.taken_over()
    assert [proposal.candidate.rule for proposal, _ in taken] == rules[1:3]
    assert [(o.number, o.metrics["validation_loss"]) for _, o in taken] == [(1, 0.5), (2, 0.25)]
    for _, outcome in taken:
        assert (outcome.cost_steps, outcome.cost_seconds) == (0, 0.0)
        assert outcome.origin == Origin(job_id="earlier", number=7)
    assert searcher.taken_over() == []
    assert numbers(searcher.suggest("b")) == [4, 5, 6, 7]
    searcher.on_trial_complete("a", outcomes(0, 3))
    searcher.on_trial_complete("b", outcomes(4, 5, 6, 7))
    assert searcher.finished


def test_a_search_of_which_all_is_known_needs_no_worker() -> None:
    like = discovery(8)
    rules = [proposal.candidate.rule for _ in range(2) for proposal in like.ask(4)]
    known = found(dict.fromkeys(rules, 0.5))
    searcher = PopulationSearcher(discovery(8), population=4, known=known)
    assert searcher.suggest("a") == Searcher.FINISHED
    assert [proposal.number for proposal, _ in searcher.taken_over()] == list(range(8))
    assert searcher.finished
