"""Ray Tune's schedulers over trials that are populations of their own."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import ray

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.sampler_settings import Grid
from search.settings import Objective
from search.space import Categorical
from search.tune_searcher import PopulationSearcher
from search.tuning import OptunaStrategy
from workers.desk import Told
from workers.driver import Plan, employ, release
from workers.evaluation import judge
from workers.protocol import AnyPruner, Asha, Evaluation, MedianStopping, Protocol, TaskSpec
from workers.schedules import schedule_of

ASHA = Asha(reduction=2, min_steps=5)


def evaluation(pruner: AnyPruner, seeds: int = 1, direction: Any = "minimize") -> Evaluation:
    protocol = Protocol(steps=20, pruner=pruner, seeds=seeds, direction=direction)
    return Evaluation(task=TaskSpec(name="wine"), protocols={Stage.SEARCH: protocol})


@dataclass(frozen=True)
class Trial:
    """What schedulers look at of Tune's."""

    trial_id: str


def decided(whole: Evaluation, scores: list[float], step: int = 5) -> list[str]:
    """Return what becomes of trials that come to a rung one after the other."""
    schedule = schedule_of(whole.model_dump(mode="json"))
    assert schedule is not None
    found = []
    for number, score in enumerate(scores):
        trial, result = Trial(str(number)), {"step": step, "score": score}
        found.append(schedule.decide(None, trial, result))
        schedule.ended(None, trial, result)
    return found


def test_asha_stops_the_worse_of_all_that_came_before() -> None:
    go, stop = "CONTINUE", "STOP"
    assert decided(evaluation(ASHA), [0.5, 0.6, 0.4, 0.45, 0.3]) == [go, stop, go, go, go]
    upside_down = evaluation(ASHA, direction="maximize")
    assert decided(upside_down, [0.5, 0.6, 0.4]) == [go, go, stop]


def test_median_stopping_waits_for_enough_others() -> None:
    whole = evaluation(MedianStopping(min_steps=5, min_trials=2))
    assert decided(whole, [0.5, 0.9, 0.8, 0.6]) == ["CONTINUE", "CONTINUE", "STOP", "CONTINUE"]
    assert decided(whole, [0.5, 0.9, 0.8], step=4) == ["CONTINUE"] * 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_trial_that_is_judged_alone_tells_how_it_stands_at_every_rung(seeds: int) -> None:
    told: list[Outcome] = []
    proposal = Proposal(number=3, candidate=Candidate(rule="torch.optim.Adamax", lr=0.1))
    (whole,) = judge(evaluation(ASHA, seeds), [proposal], heard=told.append)
    assert [(o.number, o.state, o.step) for o in told] == [
        (3, TrialState.PRUNED, 5),
        (3, TrialState.PRUNED, 10),
    ]
    assert [o.cost_steps for o in told] == [5 * seeds, 10 * seeds]
    assert [len(o.by_seed["validation_loss"]) for o in told] == [seeds] * 2
    assert (whole.state, whole.step) == (TrialState.COMPLETE, 20)
    at = {point.step: point.metrics for point in whole.curve}
    assert [o.metrics for o in told] == [at[5], at[10]]


def build(job_json: str, history: Any) -> Plan:
    space = {"lr": Categorical(choices=tuple(json.loads(job_json)))}
    base = Candidate(rule="torch.optim.Adamax")
    strategy = OptunaStrategy(space, Grid(), Objective(), 8, base, seed=0)
    whole = evaluation(ASHA).model_dump(mode="json")
    return Plan(PopulationSearcher(strategy, 1), whole, max_concurrent=1)


@pytest.mark.usefixtures("local_ray")
def test_a_job_under_asha_has_pruned_trials_with_their_steps() -> None:
    rates = [10.0**-k for k in range(8)]
    driver = employ("scheduled")
    try:
        run = driver.run.options(num_returns="streaming")
        stream = run.remote(f"{__name__}:build", json.dumps(rates), ([], None))
        messages = [ray.get(each) for each in stream]
    finally:
        ray.kill(driver)
        release("scheduled")
    told = [outcome for m in messages if isinstance(m, Told) for outcome in m.outcomes]
    assert sorted(outcome.number for outcome in told) == list(range(8))
    for outcome in told:
        ended = {TrialState.COMPLETE: (20,), TrialState.PRUNED: (5, 10)}[outcome.state]
        assert outcome.step in ended
        assert outcome.curve[-1].step == outcome.step
    assert {outcome.state for outcome in told} == {TrialState.COMPLETE, TrialState.PRUNED}
