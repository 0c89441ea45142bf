"""The levels above a comparison: unseen tasks and long runs, as one strategy."""

from collections.abc import Callable

import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import TrialState
from search.comparison import WithComparison, climbing, fresh_seed
from search.discovery import RandomStrategy
from search.funnel import WithLevel
from search.language import Language
from search.settings import LanguageSettings
from tests.search.laws import LAWS, Make, Rows, answer, restored, run
from tests.search.test_comparison import BASELINES, LISTS, LOSS, SEED, make

TASKS = ("wine", "diabetes")


def climb() -> WithLevel:
    language = Language(LanguageSettings(groups=2), LISTS)
    search = RandomStrategy(language, LOSS, 24, Candidate(rule="g", seed=SEED), SEED)
    return climbing(WithComparison(search, LOSS, 4, BASELINES, SEED), 2, TASKS, long=True)


def of(stage: Stage, rows: Rows) -> list[Proposal]:
    return [proposal for proposal, _ in rows if proposal.stage is stage]


@pytest.mark.parametrize("law", LAWS)
def test_the_levels_together_keep_the_laws_of_a_strategy(law: Callable[[Make], None]) -> None:
    law(climb)


def test_the_best_of_the_comparison_climb_with_the_baselines() -> None:
    rows = run(climb(), 6)
    stages = [proposal.stage for proposal, _ in rows]
    assert list(dict.fromkeys(stages)) == list(Stage)
    assert stages == sorted(stages, key=list(Stage).index), "a level waits for the one below"
    values = {
        proposal.candidate.rule: outcome.metrics["validation_loss"]
        for proposal, outcome in rows
        if proposal.stage is Stage.COMPARISON and proposal.label is None
        if outcome is not None and outcome.state is TrialState.COMPLETE
    }
    best = sorted(values, key=values.__getitem__)[:2]
    names = [name for name, _ in BASELINES]
    unseen, long = of(Stage.UNSEEN, rows), of(Stage.LONG, rows)
    assert [(p.task, p.label or p.candidate.rule) for p in unseen] == [
        (task, entrant) for task in TASKS for entrant in (*best, *names)
    ]
    assert [(p.task, p.label or p.candidate.rule) for p in long] == [
        (None, entrant) for entrant in (*best, "adamw")
    ]
    for proposal in (*unseen, *long):
        assert (proposal.candidate.seed, proposal.candidate.lr) == (fresh_seed(SEED), None)


def test_what_is_known_of_a_rule_is_known_of_it_on_one_task() -> None:
    rows = run(climb(), 6)
    places = [(p.task, p.stage, p.behaviour) for p, _ in rows if p.stage is not Stage.SEARCH]
    assert len(set(places)) == len(places)
    unseen = {p.behaviour for p in of(Stage.UNSEEN, rows)}
    assert len(unseen) == 2 * (2 + len(BASELINES))
    assert {p.behaviour for p in of(Stage.LONG, rows)} < {
        p.behaviour for p in of(Stage.COMPARISON, rows)
    }


def test_broken_off_at_any_trial_it_goes_on_with_the_same_plan() -> None:
    whole = run(climb(), 1)
    searched = len(of(Stage.SEARCH, whole))
    for count in range(searched - 1, len(whole)):
        done: Rows = [*whole[:count], (whole[count][0], None)]
        again = restored(climb, done, None)
        assert again.ask(1) == [whole[count][0]]
        again.tell([answer(whole[count][0])])
        assert run(again, 1, [*done[:-1], whole[count]]) == whole


def test_a_search_that_runs_out_of_rules_hands_over_at_once_and_after_a_restart() -> None:
    def small() -> WithLevel:
        return climbing(make(top=2, budget=1000), 1, TASKS, long=True)

    whole = run(small(), 1)
    assert len(of(Stage.SEARCH, whole)) < 1000
    for count in range(len(of(Stage.SEARCH, whole)), len(whole)):
        again = restored(small, whole[:count], None)
        assert run(again, 1, whole[:count]) == whole
    assert restored(small, whole, None).finished


def test_without_tasks_and_long_runs_the_comparison_is_the_end() -> None:
    comparison = make()
    assert climbing(comparison, 2, (), long=False) is comparison
