import threading

import pytest
from pydantic import ValidationError

from dsl.outcome import TrialState
from service.resources import Job, JobState
from service.store.errors import IdempotencyConflict, NotFound, StateConflict
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
    tune,
)


def test_a_job_comes_back_as_it_was_given(store: Store) -> None:
    for spec in (tune(), discover()):
        job, new = store.create_job(spec)
        assert new
        assert job == store.job(job.id)
        assert job.spec == spec
        assert job.state is JobState.QUEUED
        assert (job.started, job.finished, job.best, job.trials) == (None, None, None, {})
    assert job.budget == 50


def test_unknown_ids_are_not_found(store: Store) -> None:
    for call in (
        store.job,
        store.delete_job,
        store.clone_job,
        store.events,
        store.trials,
        store.best,
        store.curves,
        store.history,
        store.rule,
        store.revoke_token,
        lambda job: store.trial(job, 0),
        lambda job: store.request(job, "pause"),
        lambda job: store.update_job(job, notes="x"),
    ):
        for name in ("000000000000", "", "a\0b", "x" * 10_000, "' OR 1=1 --"):
            with pytest.raises(NotFound, match="there is no"):
                call(name)


def test_newest_first_with_counts(store: Store) -> None:
    first, claim = running(store)
    judged(store, claim, [0.3, 0.2])
    store.record_asked(claim, [proposal(2)])
    second, _ = store.create_job(tune("another"))
    page = store.jobs()
    assert [job.id for job in page.items] == [second.id, first.id]
    assert page.total == 2
    assert page.items[0].trials == {}
    assert page.items[1].trials == {TrialState.COMPLETE: 2, TrialState.RUNNING: 1}
    assert [job.judged for job in page.items] == [0, 2]
    assert page.items[1] == store.job(first.id)
    assert page.items[1].best == 0.2
    assert store.job_states() == {JobState.RUNNING: 1, JobState.QUEUED: 1}


def test_a_comparison_is_not_judged_against_the_budget(store: Store) -> None:
    job, claim = running(store, discover())
    store.record_asked(claim, [proposal(0), proposal(1), compared(2, "g", "sgd")])
    told = [complete(0, 0.5), infeasible(1), complete(2, 0.4)]
    store.record_told(claim, told, None)
    found = store.job(job.id)
    assert (sum(found.trials.values()), found.judged) == (3, 2)
    assert store.events(job.id)[-1].body["judged"] == 2


def test_the_same_key_gives_the_same_job(store: Store) -> None:
    job, new = store.create_job(tune(), idempotency_key="k")
    again, newer = store.create_job(tune(), idempotency_key="k")
    other, newest = store.create_job(tune(), idempotency_key="l")
    assert (new, newer, newest) == (True, False, True)
    assert again == job
    assert other.id != job.id
    assert store.jobs().total == 2


def test_the_same_key_with_another_body_is_refused(store: Store) -> None:
    job, _ = store.create_job(tune(), idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match=job.id):
        store.create_job(tune("another"), idempotency_key="k")
    assert store.jobs().total == 1


def test_keys_are_bounded(store: Store) -> None:
    for key in ("", "x" * 256, "ä", "a\0", "a\nb"):
        with pytest.raises(ValueError, match="idempotency key"):
            store.create_job(tune(), idempotency_key=key)


def test_one_job_however_many_send_it_at_once(store: Store) -> None:
    barrier = threading.Barrier(8)
    made: list[tuple[Job, bool]] = []

    def send() -> None:
        barrier.wait()
        made.append(store.create_job(tune(), idempotency_key="k"))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job, _ in made}) == 1
    assert sum(new for _, new in made) == 1
    assert store.jobs().total == 1


def test_a_deleted_jobs_key_is_free(store: Store) -> None:
    job, _ = store.create_job(tune(), idempotency_key="k")
    store.request(job.id, "cancel")
    store.delete_job(job.id)
    again, new = store.create_job(tune("another"), idempotency_key="k")
    assert new
    assert again.id != job.id


def test_change_name_notes_and_budget(store: Store) -> None:
    job, _ = store.create_job(tune())
    changed = store.update_job(job.id, name="b", notes="see <b>this</b>\n", budget=7)
    assert (changed.spec.name, changed.notes, changed.budget) == ("b", "see <b>this</b>\n", 7)
    assert changed == store.job(job.id)
    assert store.update_job(job.id) == changed
    claim = store.claim("a dispatcher", 60)
    assert claim is not None
    assert claim.spec == changed.spec
    assert store.update_job(job.id, name="c").spec.name == "c"
    with pytest.raises(StateConflict, match="RUNNING; allowed in QUEUED, PAUSED: pause the job"):
        store.update_job(job.id, budget=8)
    other, _ = store.create_job(discover())
    assert store.update_job(other.id, budget=9).budget == 9


@pytest.mark.parametrize("change", [{"budget": 0}, {"budget": 10**9}, {"name": "<"}, {"name": ""}])
def test_a_bad_change_changes_nothing(store: Store, change: dict[str, object]) -> None:
    job, _ = store.create_job(tune())
    with pytest.raises(ValidationError):
        store.update_job(job.id, notes="x", **change)  # type: ignore[arg-type]
    assert store.job(job.id) == job


def test_notes_without_nul(store: Store) -> None:
    job, _ = store.create_job(tune())
    with pytest.raises(ValueError, match="NUL"):
        store.update_job(job.id, notes="a\0b")


def test_clone(store: Store) -> None:
    job, claim = running(store, discover("x" * 64))
    judged(store, claim, [0.1])
    copy = store.clone_job(job.id)
    assert copy.id != job.id
    assert copy.state is JobState.QUEUED
    assert copy.spec.name == "x" * 57 + " (copy)"
    assert copy.spec.model_copy(update={"name": job.spec.name}) == job.spec
    assert copy.trials == {}
    assert store.clone_job(job.id, "mine").spec.name == "mine"


def test_only_ended_jobs_are_deleted(store: Store) -> None:
    job, claim = running(store)
    judged(store, claim, [0.1, 0.2])
    with pytest.raises(
        StateConflict, match="RUNNING; allowed in CANCELLED, FAILED, SUCCEEDED: cancel the job"
    ):
        store.delete_job(job.id)
    store.finish(claim, JobState.SUCCEEDED)
    store.delete_job(job.id)
    assert store.jobs().total == 0
    with pytest.raises(NotFound):
        store.job(job.id)
    with pytest.raises(NotFound):
        store.delete_job(job.id)


def test_filter_and_order(store: Store) -> None:
    for name in ("beta", "alpha", "gamma"):
        store.create_job(tune(name) if name != "gamma" else discover(name))
    by_name = store.jobs(Query(order_by="name"))
    assert [job.spec.name for job in by_name.items] == ["alpha", "beta", "gamma"]
    found = store.jobs(Query(filter='kind = tune AND name : "ET" AND created > "2020-01-01"'))
    assert [job.spec.name for job in found.items] == ["beta"]
    assert store.jobs(Query(filter="state = RUNNING")).total == 0
    assert store.jobs(Query(filter="finished = null")).total == 3
