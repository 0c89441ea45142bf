import threading
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from dsl.outcome import TrialState
from service.resources import JobState
from service.store.errors import LeaseLost, StateConflict
from service.store.queue import MAX_CRASHES, Action, Claim
from service.store.store import Store
from tests.service.store.samples import complete, judged, proposal, running, tune

ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.PAUSED, JobState.QUEUED)


def reach(store: Store, state: JobState) -> str:
    """Make a job and bring it into this state."""
    job, _ = store.create_job(tune())
    if state is JobState.QUEUED:
        return job.id
    claim = store.claim("a dispatcher", 60)
    assert claim is not None
    if state in (JobState.PAUSING, JobState.CANCELLING):
        store.request(job.id, "pause" if state is JobState.PAUSING else "cancel")
    elif state is not JobState.RUNNING:
        store.finish(claim, state, "why" if state is JobState.FAILED else None)
    assert store.job(job.id).state is state
    return job.id


AFTER: dict[tuple[JobState, Action], JobState] = {
    (JobState.QUEUED, "pause"): JobState.PAUSED,
    (JobState.QUEUED, "resume"): JobState.QUEUED,
    (JobState.QUEUED, "cancel"): JobState.CANCELLED,
    (JobState.RUNNING, "pause"): JobState.PAUSING,
    (JobState.RUNNING, "resume"): JobState.RUNNING,
    (JobState.RUNNING, "cancel"): JobState.CANCELLING,
    (JobState.PAUSING, "pause"): JobState.PAUSING,
    (JobState.PAUSING, "cancel"): JobState.CANCELLING,
    (JobState.PAUSED, "pause"): JobState.PAUSED,
    (JobState.PAUSED, "resume"): JobState.QUEUED,
    (JobState.PAUSED, "cancel"): JobState.CANCELLED,
    (JobState.CANCELLING, "cancel"): JobState.CANCELLING,
    (JobState.CANCELLED, "cancel"): JobState.CANCELLED,
}


@pytest.mark.parametrize("state", list(JobState))
def test_every_action_in_every_state(store: Store, state: JobState) -> None:
    actions: tuple[Action, ...] = ("pause", "resume", "cancel")
    for action in actions:
        job_id = reach(store, state)
        before = store.job(job_id), store.events(job_id)
        after = AFTER.get((state, action))
        if after is None:
            with pytest.raises(StateConflict, match=f"{action} the job in state {state}; allowed"):
                store.request(job_id, action)
            assert (store.job(job_id), store.events(job_id)) == before
        else:
            assert store.request(job_id, action).state is after
            assert store.job(job_id).state is after
            assert len(store.events(job_id)) == len(before[1]) + (after is not state)
        store.request(reach_end(store, job_id), "cancel")


def reach_end(store: Store, job_id: str) -> str:
    """Leave no job in the queue for the next round."""
    if store.job(job_id).state in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSING):
        store.request(job_id, "cancel")
    other, _ = store.create_job(tune())
    return other.id


def test_unknown_action(store: Store) -> None:
    job, _ = store.create_job(tune())
    with pytest.raises(ValueError, match="allowed: pause, resume, cancel"):
        store.request(job.id, "stop")  # type: ignore[arg-type]


def test_jobs_are_claimed_in_order_of_creation(store: Store) -> None:
    ids = [store.create_job(tune())[0].id for _ in range(3)]
    claims = [store.claim("a dispatcher", 60) for _ in range(4)]
    assert [claim and claim.job_id for claim in claims] == [*ids, None]
    job = store.job(ids[0])
    assert job.state is JobState.RUNNING
    assert job.started is not None
    assert claims[0] is not None
    assert claims[0].spec == job.spec


def test_each_job_is_claimed_once_by_many(store: Store) -> None:
    ids = {store.create_job(tune())[0].id for _ in range(12)}
    barrier = threading.Barrier(4)
    claimed: list[str] = []

    def work(owner: str) -> None:
        barrier.wait()
        misses = 0
        while misses < 3:  # a row that another is just claiming is skipped, so look again
            claim = store.claim(owner, 60)
            misses = 0 if claim else misses + 1
            if claim:
                claimed.append(claim.job_id)

    threads = [threading.Thread(target=work, args=(f"d{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def writes(store: Store, claim: Claim) -> list[tuple[str, object]]:
    return [
        ("renew", lambda: store.renew(claim, 60)),
        ("asked", lambda: store.record_asked(claim, [proposal(9)])),
        ("told", lambda: store.record_told(claim, [complete(0, 0.01)], b"late")),
        ("lost", lambda: store.record_lost(claim, [0], "late")),
        ("log", lambda: store.log(claim, "late")),
        *((f"finish {end}", lambda end=end: store.finish(claim, end)) for end in ENDS),
    ]


@pytest.mark.parametrize("index", range(5 + len(ENDS)))
def test_a_lapsed_claim_writes_nothing(store: Store, index: int) -> None:
    job, old = running(store)
    store.record_asked(old, [proposal(0), proposal(1)])
    store.renew(old, -1)
    new = store.claim("another", 60)
    assert new is not None
    assert (new.job_id, new.owner) == (job.id, "another")
    assert new.epoch > old.epoch
    before = (store.job(job.id), store.events(job.id), store.history(job.id))
    _, write = writes(store, old)[index]
    with pytest.raises(LeaseLost, match=f"claim {old.epoch} on job {job.id} is over"):
        write()  # type: ignore[operator]
    assert (store.job(job.id), store.events(job.id), store.history(job.id)) == before
    assert store.renew(new, 60) is JobState.RUNNING


@pytest.mark.parametrize("end", ENDS)
def test_a_finished_claim_writes_nothing(store: Store, end: JobState) -> None:
    job, claim = running(store)
    store.finish(claim, end)
    before = (store.job(job.id), store.events(job.id))
    for _, write in writes(store, claim):
        with pytest.raises(LeaseLost):
            write()  # type: ignore[operator]
    assert (store.job(job.id), store.events(job.id)) == before


def test_a_lease_that_holds_is_not_taken(store: Store) -> None:
    _, claim = running(store)
    assert store.claim("another", 60) is None
    assert store.renew(claim, 60) is JobState.RUNNING


def test_lapsed_before_claimed_anew_still_writes(store: Store) -> None:
    """Only a new claim ends the old one: a late dispatcher that nobody replaced goes on."""
    _, claim = running(store)
    store.renew(claim, -1)
    store.record_asked(claim, [proposal(0)])
    assert store.renew(claim, 60) is JobState.RUNNING
    assert store.claim("another", 60) is None


def test_a_silent_dispatchers_trials_wait_again(store: Store) -> None:
    job, claim = running(store)
    judged(store, claim, [0.5])
    store.record_asked(claim, [proposal(1)])
    store.renew(claim, -1)
    assert store.claim("another", 60) is not None
    assert store.trial(job.id, 0).state is TrialState.COMPLETE
    assert store.trial(job.id, 1).state is TrialState.QUEUED
    assert any("fell silent" in str(event.body) for event in store.events(job.id))


@pytest.mark.parametrize(
    ("action", "state"), [("pause", JobState.PAUSED), ("cancel", JobState.CANCELLED)]
)
def test_a_silent_dispatchers_job_meets_the_wish(
    store: Store, action: Action, state: JobState
) -> None:
    job, claim = running(store)
    store.request(job.id, action)
    store.renew(claim, -1)
    assert store.claim("another", 60) is None
    assert store.job(job.id).state is state


def test_a_job_that_kills_its_dispatchers_fails(store: Store) -> None:
    job, claim = running(store)
    for _ in range(MAX_CRASHES):
        store.renew(claim, -1)
        again = store.claim("a dispatcher", 60)
        assert again is not None
        claim = again
    store.renew(claim, -1)
    assert store.claim("a dispatcher", 60) is None
    failed = store.job(job.id)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert "died 4 times" in failed.error
    assert store.events(job.id)[-1].body == {"state": "FAILED", "error": failed.error}


def test_a_result_forgives_crashes(store: Store) -> None:
    job, claim = running(store)
    for number in range(2 * MAX_CRASHES):
        store.record_asked(claim, [proposal(number)])
        store.record_told(claim, [complete(number, 0.5)], None)
        store.renew(claim, -1)
        again = store.claim("a dispatcher", 60)
        assert again is not None
        claim = again
    assert store.job(job.id).state is JobState.RUNNING


def test_an_owners_earlier_life_is_over_at_once(store: Store) -> None:
    _, claim = running(store)
    assert store.expire("another") == 0
    assert store.claim("a dispatcher", 60) is None
    assert store.expire("a dispatcher") == 1
    again = store.claim("a dispatcher", 60)
    assert again is not None
    assert again.job_id == claim.job_id
    with pytest.raises(LeaseLost):
        store.log(claim, "late")


@pytest.mark.parametrize(
    ("action", "end", "state"),
    [
        ("pause", JobState.PAUSED, JobState.PAUSED),
        ("pause", JobState.QUEUED, JobState.PAUSED),
        ("pause", JobState.SUCCEEDED, JobState.SUCCEEDED),
        ("cancel", JobState.CANCELLED, JobState.CANCELLED),
        ("cancel", JobState.QUEUED, JobState.CANCELLED),
        ("cancel", JobState.PAUSED, JobState.CANCELLED),
        ("cancel", JobState.FAILED, JobState.FAILED),
    ],
)
def test_a_run_ends_as_wished(store: Store, action: Action, end: JobState, state: JobState) -> None:
    job, claim = running(store)
    asked = store.request(job.id, action).state
    assert store.renew(claim, 60) is asked
    store.finish(claim, end, "why" if end is JobState.FAILED else None)
    job = store.job(job.id)
    assert job.state is state
    assert job.error == ("why" if state is JobState.FAILED else None)
    assert (job.finished is None) == (state is JobState.PAUSED)


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING])
def test_a_run_does_not_finish_as_running(store: Store, state: JobState) -> None:
    job, claim = running(store)
    with pytest.raises(ValueError, match=f"cannot finish as {state}; allowed: QUEUED"):
        store.finish(claim, state)
    assert store.job(job.id).state is JobState.RUNNING


@pytest.mark.parametrize("end", ENDS)
def test_open_trials_wait_or_end_with_their_job(store: Store, end: JobState) -> None:
    job, claim = running(store)
    judged(store, claim, [0.5])
    store.record_asked(claim, [proposal(1), proposal(2)])
    store.record_lost(claim, [2], "its worker died")
    store.finish(claim, end)
    states = [trial.state for trial in store.trials(job.id).items]
    if end in (JobState.PAUSED, JobState.QUEUED):
        assert states == [TrialState.COMPLETE, TrialState.QUEUED, TrialState.QUEUED]
    else:
        assert states == [TrialState.COMPLETE, TrialState.CANCELLED, TrialState.FAILED]


def test_resumed_jobs_keep_their_start(store: Store) -> None:
    job, claim = running(store)
    started = store.job(job.id).started
    store.finish(claim, JobState.PAUSED)
    store.request(job.id, "resume")
    assert store.claim("another", 60) is not None
    assert store.job(job.id).started == started


def test_time_is_the_databases(store: Store) -> None:
    job, _ = running(store)
    assert abs(datetime.now(UTC) - job.created) < timedelta(minutes=1)
    assert job.created.tzinfo == UTC


def told(store: Store, job_id: str) -> list[str]:
    """Return what the job's log says, and its states, in order."""
    bodies = [event.body for event in store.events(job_id)]
    return [body.get("sentence") or body["state"] for body in bodies if "numbers" not in body]


def test_a_job_that_ends_names_the_points_that_it_has_not_tried(store: Store) -> None:
    points = [{"lr": n / 10} for n in range(1, 9)]
    job, claim = running(store, tune(enqueue=points[:2]))
    asked = [proposal(number, memo={"point": number}) for number in (0, 1)]
    store.record_asked(claim, [asked[1]])
    store.finish(claim, JobState.PAUSED)
    store.enqueue(job.id, points[2:])
    store.request(job.id, "resume")
    claim = store.claim("a dispatcher", 60)
    assert claim is not None
    assert told(store, job.id)[-1] == "RUNNING", "a job that goes on may try them yet"
    store.finish(claim, JobState.CANCELLED)
    sentence, state = told(store, job.id)[-2:]
    assert state == "CANCELLED"
    assert sentence.startswith(
        "The job ends, and 7 points were not tried: "
        "lr=0.1; lr=0.3; lr=0.4; lr=0.5; lr=0.6; and 2 more. To try what is left, submit"
    )
    with pytest.raises(StateConflict, match="add points"):
        store.enqueue(job.id, points[:1])


def test_a_job_that_got_a_point_as_it_ended_goes_on(store: Store) -> None:
    job, claim = running(store, tune())
    store.record_asked(claim, [proposal(0)])
    store.record_told(claim, [complete(0, 0.5)], None)
    store.enqueue(job.id, [{"lr": 0.25}])
    store.finish(claim, JobState.SUCCEEDED)
    assert told(store, job.id)[-2:] == [
        "A point was added as the job was about to end; it goes on.",
        "QUEUED",
    ]
    claim = store.claim("a dispatcher", 60)
    assert claim is not None
    assert claim.job_id == job.id
    store.record_asked(claim, [proposal(1, memo={"point": 0})])
    store.record_told(claim, [complete(1, 0.5)], None)
    store.finish(claim, JobState.SUCCEEDED)
    assert told(store, job.id)[-2:] == ["RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize(
    ("wish", "state"), [("pause", JobState.PAUSED), ("cancel", JobState.CANCELLED)]
)
def test_a_job_that_got_a_point_as_it_ended_meets_what_somebody_wants(
    store: Store, wish: Literal["pause", "cancel"], state: JobState
) -> None:
    job, claim = running(store, tune())
    store.enqueue(job.id, [{"lr": 0.25}])
    store.request(job.id, wish)
    store.finish(claim, JobState.SUCCEEDED)
    assert store.job(job.id).state is state


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_point_that_comes_too_late_is_named_where_the_job_cannot_go_on(
    store: Store, state: JobState
) -> None:
    job, claim = running(store, tune())
    store.record_asked(claim, [proposal(0)])
    store.enqueue(job.id, [{"lr": 0.25}])
    store.finish(claim, state, "why" if state is JobState.FAILED else None)
    assert "1 point was not tried: lr=0.25." in told(store, job.id)[-2]
    other, claim = running(store, tune(enqueue=[{"lr": 0.5}]))
    store.record_asked(claim, [proposal(0, memo={"point": 0})])
    store.finish(claim, state, "why" if state is JobState.FAILED else None)
    assert told(store, other.id) == ["QUEUED", "RUNNING", state]
