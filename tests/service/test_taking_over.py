"""Nothing is trained twice: not in a tune job, nor in a later one under the same conditions."""

from collections.abc import Callable

from dsl.candidate import Proposal
from dsl.outcome import Origin, TrialState
from service.dispatcher import Dispatcher
from service.evaluations import evaluation_of
from service.resources import JobState, Trial
from service.store.store import Store
from tests.service.test_dispatcher import TUNE, dispatch, in_state, submit, trials, wait_for
from workers.evaluation import judge

__all__ = ["dispatch"]  # a fixture

BODY = {
    **TUNE,
    "sampler": {"name": "tpe", "startup_trials": 3},
    "space": {"lr": {"type": "categorical", "choices": [0.05, 0.5, 1e30]}},
    "population": 4,
    "budget": {"trials": 12, "steps": 20},
}


def ended(store: Store, **changes: object) -> list[Trial]:
    job_id = submit(store, {**BODY, **changes})
    wait_for(store, job_id, in_state(JobState.SUCCEEDED))
    return sorted(trials(store, job_id), key=lambda trial: trial.number)


def trained_anew(store: Store, trial: Trial) -> tuple[object, ...]:
    proposal, _ = store.recorded(trial.job_id, trial.number)
    alone: Proposal = proposal.model_copy(update={"number": 0})
    (outcome,) = judge(evaluation_of(store.job(trial.job_id).spec), [alone])
    return outcome.state, outcome.reason, outcome.step, outcome.metrics


def test_points_are_trained_once_and_their_outcomes_taken_over(
    dispatch: Callable[..., tuple[Store, Dispatcher]],
) -> None:
    store, _ = dispatch()
    first = ended(store)
    rates = {trial.lr for trial in first}
    sources = {trial.lr: trial for trial in first if trial.origin is None}
    assert len(first) == 12
    assert sum(trial.cost_steps > 0 for trial in first) == len(sources) == len(rates)
    for trial in first:
        source = sources[trial.lr]
        if trial is not source:
            assert trial.origin == Origin(job_id=source.job_id, number=source.number)
            assert (trial.cost_steps, trial.cost_seconds, trial.attempt) == (0, 0.0, 1)
        assert (trial.state, trial.reason, trial.step, trial.metrics) == trained_anew(store, trial)
    assert {trial.state for trial in first} == {TrialState.COMPLETE, TrialState.INFEASIBLE}

    again = ended(store, sampler={"name": "brute_force"}, name="another")
    assert {trial.lr for trial in again if trial.origin is None} == {0.05, 0.5, 1e30} - rates
    for trial in again:
        if trial.lr in rates:
            source = sources[trial.lr]
            assert trial.origin == Origin(job_id=source.job_id, number=source.number)
            assert (trial.cost_steps, trial.metrics) == (0, source.metrics)
            curves = [store.curves(t.job_id, numbers=[t.number]) for t in (trial, source)]
            assert [each.points for each in curves[0]] == [each.points for each in curves[1]]
    for changes in ({"seed": 1}, {"budget": {"trials": 12, "steps": 21}}, {"optimizer": "adam"}):
        other = ended(store, sampler={"name": "brute_force"}, **changes)
        assert [trial.origin for trial in other] == [None] * 3
