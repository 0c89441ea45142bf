"""What is known is not tried again in the same search, and the search does not notice."""

from collections.abc import Callable
from typing import Any

import pytest
from ray.tune.search import Searcher

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Measurement, Origin, Outcome, TrialState
from search import memory
from search.sampler_settings import TPE
from search.settings import Objective
from search.space import Categorical, Int, Parameter
from search.tune_searcher import ATTEMPTS, PopulationSearcher
from search.tuning import OptunaStrategy

RATES: dict[str, Parameter] = {"lr": Categorical(choices=(0.01, 0.1, 1.0))}
GRID: dict[str, Parameter] = {"lr": Categorical(choices=(0.1, 1.0)), "beta": Int(low=0, high=2)}
LOOKED_UP = {Stage.SEARCH: dict[str, Outcome]()}


def strategy(
    budget: int,
    space: dict[str, Parameter] = RATES,
) -> OptunaStrategy:
    sampler = TPE(startup_trials=4)
    return OptunaStrategy(space, sampler, Objective(), budget, Candidate(rule="g"), seed=3)


def judged(proposal: Proposal) -> Outcome:
    """Return an outcome that follows from the candidate alone; the highest rate diverges."""
    rate = proposal.candidate.lr or 0.0
    loss = (rate - 0.3) ** 2 + 0.1 * proposal.candidate.hyperparameters.get("beta", 0)
    common: dict[str, Any] = {"number": proposal.number, "cost_steps": 30, "cost_seconds": 0.5}
    if rate == 1.0:
        return Outcome(state=TrialState.INFEASIBLE, reason="loss is NaN at step 3", **common)
    point = Measurement(step=30, metrics={"validation_loss": loss})
    return Outcome(state=TrialState.COMPLETE, metrics=point.metrics, curve=(point,), **common)


def asked(config: dict[str, Any] | None) -> list[Proposal]:
    assert isinstance(config, dict)
    return [Proposal.model_validate(entry) for entry in config["population"]]


def told(*outcomes: Outcome) -> dict[str, Any]:
    return {"outcomes": [outcome.model_dump(mode="json") for outcome in outcomes], "lost": []}


def searched(searcher: PopulationSearcher) -> tuple[list[Proposal], dict[int, Outcome]]:
    """Run a search to its end; return what was tried, and all outcomes by number."""
    tried: list[Proposal] = []
    outcomes: dict[int, Outcome] = {}
    waiting: set[int] = set()
    while (config := searcher.suggest("a")) != Searcher.FINISHED:
        waiting |= {proposal.number for proposal in searcher.waiting()}
        outcomes |= {proposal.number: outcome for proposal, outcome in searcher.taken_over()}
        population = asked(config)
        results = [judged(proposal) for proposal in population]
        searcher.on_trial_complete("a", told(*results))
        tried += population
        outcomes |= {outcome.number: outcome for outcome in results}
        equal = {proposal.number: outcome for proposal, outcome in searcher.taken_over()}
        assert waiting == set(equal)
        outcomes, waiting = outcomes | equal, set()
    outcomes |= {proposal.number: outcome for proposal, outcome in searcher.taken_over()}
    return tried, outcomes


@pytest.mark.parametrize("space", [RATES, GRID])
@pytest.mark.parametrize("population", [1, 5])
def test_a_search_that_tries_nothing_twice_asks_and_learns_as_one_that_does(
    space: dict[str, Parameter], population: int
) -> None:
    every, trained = searched(PopulationSearcher(strategy(30, space), population))
    known = PopulationSearcher(strategy(30, space), population, known=LOOKED_UP, job="this")
    tried, outcomes = searched(known)
    assert len(every) == len(outcomes) == 30
    by_number = {proposal.number: proposal for proposal in every}
    points = {str(proposal.parameters) for proposal in every}
    assert len(tried) == len(points) < 10
    assert [by_number[proposal.number] for proposal in tried] == tried
    first = {by_number[p.number].behaviour: p.number for p in tried}
    for number, outcome in outcomes.items():
        source = first[by_number[number].behaviour]
        origin = None if source == number else Origin(job_id="this", number=source)
        free = {} if origin is None else {"cost_steps": 0, "cost_seconds": 0.0}
        kept = {"curve": outcome.curve, "origin": origin}
        assert outcome == trained[number].model_copy(update=kept | free)


def test_what_waits_for_all_that_is_out_asks_no_further() -> None:
    searcher = PopulationSearcher(strategy(30), 10, known=LOOKED_UP)
    first = asked(searcher.suggest("a"))
    assert searcher.suggest("b") is None
    assert searcher.suggest("b") is None
    assert [proposal.number for proposal in searcher.waiting()][-1] == 19
    searcher.on_trial_complete("a", told(*map(judged, first)))
    assert len(searcher.taken_over()) == 20 - len(first)


def test_where_one_is_given_up_an_equal_one_is_tried_in_its_place() -> None:
    only: dict[str, Parameter] = {"lr": Categorical(choices=(0.1,))}
    searcher = PopulationSearcher(strategy(3, only), 3, known=LOOKED_UP)
    for _ in range(ATTEMPTS):
        assert [proposal.number for proposal in asked(searcher.suggest("a"))] == [0]
        searcher.on_trial_complete("a", error=True)
    (heir,) = asked(searcher.suggest("a"))
    assert heir.number == 1
    searcher.on_trial_complete("a", told(judged(heir)))
    assert [(p.number, o.origin and o.origin.number) for p, o in searcher.taken_over()] == [(2, 1)]
    assert searcher.finished


@pytest.mark.parametrize("spoil", [lambda p: {"behaviour": None}, lambda p: {"stage": Stage.LONG}])
def test_nothing_is_remembered_of_what_nobody_can_look_up(
    spoil: Callable[[Proposal], dict[str, Any]],
) -> None:
    found = memory.Memory(LOOKED_UP, "this")
    proposal = strategy(1).ask(1)[0]
    nameless = proposal.model_copy(update=spoil(proposal))
    assert not found.waits(nameless)
    assert not found.waits(nameless)
    assert list(found.learn(nameless, judged(nameless))) == []
    assert found.outcome_of(nameless) is None


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 2)
    found = memory.Memory(LOOKED_UP, "this")
    proposals = [Proposal(number=n, candidate=Candidate(rule="g"), behaviour=str(n))
                 for n in range(3)]  # fmt: skip
    for proposal in proposals:
        assert list(found.learn(proposal, judged(proposal))) == []
    assert [found.outcome_of(proposal) is None for proposal in proposals] == [True, False, False]
