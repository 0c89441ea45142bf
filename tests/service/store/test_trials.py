import pytest

from dsl.candidate import Candidate, Stage
from dsl.outcome import TrialState
from service.store.errors import NotFound
from service.store.query import Query
from service.store.store import Store
from tests.service.store.samples import (
    compared,
    complete,
    discover,
    infeasible,
    judged,
    proposal,
    running,
)


def numbers(store: Store, job_id: str, **query: str) -> list[int]:
    return [trial.number for trial in store.trials(job_id, Query(**query)).items]  # type: ignore[arg-type]


def test_by_number_unless_asked_otherwise(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(i) for i in (3, 1, 0, 2)])
    assert numbers(store, job.id) == [0, 1, 2, 3]


def test_no_value_comes_last_either_way(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(i) for i in range(5)])
    store.record_told(claim, [complete(1, 0.5), complete(2, 0.2), complete(4, 0.9)], None)
    assert numbers(store, job.id, order_by="value") == [2, 1, 4, 0, 3]
    assert numbers(store, job.id, order_by="value desc") == [4, 1, 2, 0, 3]
    assert numbers(store, job.id, order_by="value desc, number desc") == [4, 1, 2, 3, 0]
    assert numbers(store, job.id, filter="value = null") == [0, 3]
    assert numbers(store, job.id, filter="value != null AND value < 0.9") == [1, 2]
    assert numbers(store, job.id, filter="NOT value < 0.9") == [0, 3, 4]


def test_parameters_and_metrics_by_name(store: Store) -> None:
    job, claim = running(store)
    points = [{"lr": 10.0**-i, "units": i, "kind": "ab"[i % 2]} for i in range(4)]
    store.record_asked(
        claim,
        [
            proposal(i, parameters=point, candidate=Candidate(rule="g", lr=0.1))
            for i, point in enumerate(points)
        ],
    )
    store.record_told(claim, [complete(i, 1 + i) for i in range(3)], None)
    assert numbers(store, job.id, order_by="parameters.lr") == [3, 2, 1, 0]
    assert numbers(store, job.id, filter="parameters.lr >= 0.1") == [0, 1]
    assert numbers(store, job.id, filter="parameters.units = 2") == [2]
    assert numbers(store, job.id, filter="parameters.kind = b") == [1, 3]
    assert numbers(store, job.id, filter='parameters.kind : "A"') == [0, 2]
    assert numbers(store, job.id, filter="parameters.kind != b") == [0, 2]
    assert numbers(store, job.id, filter="parameters.kind > 3") == []
    assert numbers(store, job.id, filter="parameters.absent = null") == [0, 1, 2, 3]
    assert numbers(store, job.id, filter="metrics.validation_loss > 1.5") == [1, 2]
    assert numbers(store, job.id, order_by="metrics.validation_loss desc") == [2, 1, 0, 3]


def test_filters_on_columns(store: Store) -> None:
    job, claim = running(store)
    asked = [proposal(0, label="adam"), proposal(1), proposal(2, "sign(g)", label="signsgd")]
    store.record_asked(claim, asked)
    store.record_told(claim, [complete(0, 0.5), infeasible(1)], None)
    rule_id = store.trial(job.id, 2).rule_id
    assert numbers(store, job.id, filter="state = COMPLETE") == [0]
    assert numbers(store, job.id, filter="state = COMPLETE OR state = RUNNING") == [0, 2]
    assert numbers(store, job.id, filter=f"rule_id = {rule_id}") == [2]
    assert numbers(store, job.id, filter="label != adam") == [1, 2]
    assert numbers(store, job.id, filter='reason : "nan"') == [1]
    assert numbers(store, job.id, filter="stage = search AND attempt >= 1") == [0, 1, 2]


@pytest.mark.parametrize("number", [-1, 5, 2**63, 2**200])
def test_unknown_numbers_are_not_found(store: Store, number: int) -> None:
    job, claim = running(store)
    judged(store, claim, [0.1])
    with pytest.raises(NotFound):
        store.trial(job.id, number)
    assert store.curves(job.id, numbers=[number]) == ()


def test_curves_of_the_best_or_of_those_named(store: Store) -> None:
    job, claim = running(store)
    judged(store, claim, [0.4, 0.1, 0.3, 0.2])
    store.record_asked(claim, [proposal(4), proposal(5)])
    store.record_told(claim, [infeasible(4)], None)
    later = proposal(6, stage=Stage.COMPARISON)
    store.record_asked(claim, [later])
    store.record_told(claim, [complete(6, 0.05)], None)
    assert [curve.number for curve in store.curves(job.id)] == [0, 1, 2, 3]
    assert [curve.number for curve in store.curves(job.id, limit=2)] == [1, 3]
    assert [curve.number for curve in store.curves(job.id, numbers=[6])] == [6]
    assert [curve.number for curve in store.curves(job.id, numbers=[2, 0, 4])] == [0, 2]
    curve = store.curves(job.id, limit=1)[0]
    assert curve.state is TrialState.COMPLETE
    assert curve.points == complete(1, 0.1).curve


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [1, 3]), (99, [1, 3, 0]), (0, [])])
def test_the_best(store: Store, count: int, expected: list[int]) -> None:
    job, claim = running(store)
    judged(store, claim, [0.4, 0.1])
    store.record_asked(claim, [proposal(2), proposal(3)])
    store.record_told(claim, [infeasible(2), complete(3, 0.1)], None)
    assert [trial.number for trial in store.best(job.id, count)] == expected


def test_what_was_sampled_stands_beside_what_was_tried(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0, memo={"sampled": 7, "fresh": 0.5}), proposal(1)])
    assert [trial.sampled for trial in store.trials(job.id, Query()).items] == [7, None]


@pytest.mark.parametrize(("direction", "expected"), [("minimize", 2), ("maximize", 3)])
def test_near_copies_that_were_not_compared_are_counted(
    store: Store, direction: str, expected: int
) -> None:
    objective = {"metric": "validation_loss", "direction": direction}
    job, claim = running(store, discover(objective=objective))
    rules = ("g", "sign(g)", "m", "sign(m)", "adam", "rmsprop")
    store.record_asked(claim, [proposal(i, rule) for i, rule in enumerate(rules)])
    values = (0.1, 0.2, 0.2, 0.3, 0.4)  # the last rule diverged
    told = [complete(i, value) for i, value in enumerate(values)]
    store.record_told(claim, [*told, infeasible(5)], None)
    assert store.passed_over(job.id) == 0
    store.record_asked(claim, [compared(6, "m"), compared(7, "g", "sgd")])
    assert store.passed_over(job.id) == expected
