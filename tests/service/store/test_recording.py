import math

import pytest

from dsl.candidate import Stage
from dsl.outcome import Outcome, TrialState
from service.resources import JobState
from service.store.errors import NotFound
from service.store.recording import MAX_LOSSES
from service.store.store import Store
from tests.service.store.samples import (
    compared,
    complete,
    discover,
    infeasible,
    judged,
    proposal,
    running,
    tune,
)


def test_asked_trials_run(store: Store) -> None:
    job, claim = running(store)
    asked = proposal(0, "sign(g)", label="signsgd", memo={"tokens": [1, 2, 3]})
    store.record_asked(claim, [asked])
    trial = store.trial(job.id, 0)
    assert trial.state is TrialState.RUNNING
    assert (trial.rule, trial.label, trial.parameters) == ("sign(g)", "signsgd", {"lr": 0.1})
    assert (trial.attempt, trial.value, trial.finished) == (1, None, None)
    assert store.rule(trial.rule_id).text
    assert store.history(job.id).trials == [(asked, None)]


def test_told_trials_have_their_outcome(store: Store) -> None:
    job, claim = running(store)
    asked = [proposal(i) for i in range(3)]
    told = [
        complete(0, 0.25, spread={"validation_loss": 0.01}, seeds=2, cost_steps=600),
        Outcome(number=1, state=TrialState.PRUNED, step=30, metrics={"validation_loss": 2.0}),
        infeasible(2, "loss is NaN at step 3 \0 in row 2"),
    ]
    store.record_asked(claim, asked)
    store.record_told(claim, told, b"learnt")
    first, pruned, broken = store.trials(job.id).items
    assert (first.state, first.value, first.step, first.seeds) == (
        TrialState.COMPLETE,
        0.25,
        300,
        2,
    )
    assert first.metrics["validation_loss"] == 0.25
    assert first.spread == {"validation_loss": 0.01}
    assert (pruned.state, pruned.value, pruned.step) == (TrialState.PRUNED, 2.0, 30)
    assert (broken.state, broken.value) == (TrialState.INFEASIBLE, None)
    assert broken.reason == "loss is NaN at step 3   in row 2"
    history = store.history(job.id)
    assert history.trials == list(zip(asked, told, strict=True))
    assert history.snapshot == b"learnt"
    assert store.job(job.id).best == 0.25


def test_the_first_outcome_stands(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0), proposal(1)])
    store.record_told(claim, [complete(0, 0.5), complete(0, 0.1)], b"a")
    before, events = store.trial(job.id, 0), len(store.events(job.id))
    assert before.value == 0.5
    store.record_told(claim, [complete(0, 0.1)], b"b")
    assert (store.trial(job.id, 0), len(store.events(job.id))) == (before, events)
    store.record_told(claim, [complete(0, 0.1), complete(1, 0.7)], b"b")
    assert store.trial(job.id, 0) == before
    assert store.trial(job.id, 1).value == 0.7
    assert store.job(job.id).best == 0.5
    assert store.events(job.id)[-1].body["numbers"] == [1]
    store.record_asked(claim, [proposal(0)])
    assert store.trial(job.id, 0) == before
    assert store.record_lost(claim, [0], "late") == ()
    assert store.trial(job.id, 0) == before


def test_best_follows_the_direction_and_the_search_alone(store: Store) -> None:
    objective = {"metric": "validation_accuracy", "direction": "maximize"}
    job, claim = running(store, tune(objective=objective))
    judged(store, claim, [3.0, 1.0, 2.0])
    assert store.job(job.id).best == pytest.approx(0.9)
    store.record_asked(claim, [compared(3, "g")])
    store.record_told(claim, [complete(3, 0.1)], None)
    assert store.job(job.id).best == pytest.approx(0.9)
    assert [trial.number for trial in store.best(job.id, 2)] == [1, 2]
    assert [t.number for t in store.best(job.id, 2, stage=Stage.COMPARISON)] == [3]


def test_lost_trials_wait_then_fail(store: Store) -> None:
    job, claim = running(store)
    for loss in range(1, MAX_LOSSES + 1):
        store.record_asked(claim, [proposal(0), proposal(1)])
        failed = store.record_lost(claim, [0], "its worker was killed by signal 9")
        trial = store.trial(job.id, 0)
        assert trial.attempt == loss
        assert trial.reason == "its worker was killed by signal 9"
        assert failed == ((0,) if loss == MAX_LOSSES else ())
        assert trial.state is (TrialState.FAILED if failed else TrialState.QUEUED)
    assert trial.finished is not None
    # A search that is rebuilt asks it again with its number, and an outcome then counts.
    assert store.history(job.id).trials[0] == (proposal(0), None)
    store.record_asked(claim, [proposal(0)])
    again = store.trial(job.id, 0)
    assert (again.state, again.reason, again.finished) == (TrialState.RUNNING, None, None)
    store.record_told(claim, [complete(0, 0.5)], None)
    assert store.trial(job.id, 0).state is TrialState.COMPLETE


def test_a_number_never_asked(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0)])
    with pytest.raises(NotFound, match="'7'"):
        store.record_told(claim, [complete(0, 0.5), complete(7, 0.5)], b"x")
    with pytest.raises(NotFound, match="'7'"):
        store.record_lost(claim, [0, 7], "gone")
    assert store.trial(job.id, 0).state is TrialState.RUNNING
    assert store.history(job.id).snapshot is None


def test_complete_needs_the_objective(store: Store) -> None:
    _, claim = running(store)
    store.record_asked(claim, [proposal(0)])
    with pytest.raises(ValueError, match="without validation_loss, the job's objective; it has no"):
        store.record_told(claim, [complete(0, 0.5, metrics={})], None)


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "FAILED", "CANCELLED"])
def test_only_a_workers_states_are_told(store: Store, state: str) -> None:
    _, claim = running(store)
    store.record_asked(claim, [proposal(0)])
    with pytest.raises(ValueError, match=f"told as {state}; allowed: COMPLETE, PRUNED, INFEASIBLE"):
        store.record_told(claim, [complete(0, 0.5, state=state)], None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["metrics", "lr", "cost_seconds", "curve"])
def test_nan_and_infinity_never_reach_sql(store: Store, value: float, place: str) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0)])
    good = complete(0, 0.5)
    worse: object = value
    if place == "metrics":
        worse = {**good.metrics, "train_loss": value}
    elif place == "curve":
        worse = (good.curve[0].model_copy(update={"metrics": {"validation_loss": value}}),)
    bad = good.model_copy(update={place: worse})  # what validation would have refused
    with pytest.raises(Exception, match=r"not finite|JSON|out of range"):
        store.record_told(claim, [bad], None)
    assert store.trial(job.id, 0).state is TrialState.RUNNING


def test_nothing_to_record(store: Store) -> None:
    job, claim = running(store)
    events = store.events(job.id)
    store.record_asked(claim, [])
    store.record_told(claim, [], None)
    assert store.record_lost(claim, [], "x") == ()
    assert store.events(job.id) == events
    store.record_told(claim, [], b"only learnt")
    assert store.history(job.id).snapshot == b"only learnt"
    assert store.events(job.id) == events


def test_no_snapshot_keeps_the_one_before(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0), proposal(1)])
    store.record_told(claim, [complete(0, 0.5)], b"a" * 1_000_000)
    store.record_told(claim, [complete(1, 0.5)], None)
    assert store.history(job.id).snapshot == b"a" * 1_000_000


def test_a_whole_population_at_once(store: Store) -> None:
    job, claim = running(store, discover(budget={"rules": 1024}))
    judged(store, claim, [1 + i / 1000 for i in range(1024)])
    store.finish(claim, JobState.SUCCEEDED)
    assert store.job(job.id).trials == {TrialState.COMPLETE: 1024}
    assert len(store.history(job.id).trials) == 1024


def test_a_text_that_is_no_rule_is_kept(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0, "g +* 2"), proposal(1, "1")])
    store.record_told(claim, [infeasible(0, "no rule"), infeasible(1, "constant")], None)
    for number, text in ((0, "g +* 2"), (1, "1")):
        trial = store.trial(job.id, number)
        assert trial.rule == text
        assert store.rule(trial.rule_id).text == text
