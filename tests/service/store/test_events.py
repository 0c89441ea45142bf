import threading
import time

from service.resources import JobState
from service.store.store import Store
from tests.service.store.samples import complete, infeasible, proposal, running


def test_every_change_is_told_in_order(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0), proposal(1)])
    store.record_told(claim, [infeasible(1), complete(0, 0.5)], None)
    store.log(claim, "A sentence.")
    store.request(job.id, "pause")
    store.finish(claim, JobState.PAUSED)
    events = store.events(job.id)
    assert [event.seq for event in events] == list(range(1, 8))
    assert [(event.kind, event.body) for event in events] == [
        ("job", {"state": "QUEUED"}),
        ("job", {"state": "RUNNING"}),
        (
            "trials",
            {
                "numbers": [0, 1],
                "states": ["RUNNING", "RUNNING"],
                "values": [None, None],
                "best": None,
                "counts": {"RUNNING": 2},
                "judged": 0,
            },
        ),
        (
            "trials",
            {
                "numbers": [0, 1],
                "states": ["COMPLETE", "INFEASIBLE"],
                "values": [0.5, None],
                "best": 0.5,
                "counts": {"COMPLETE": 1, "INFEASIBLE": 1},
                "judged": 2,
            },
        ),
        ("log", {"sentence": "A sentence."}),
        ("job", {"state": "PAUSING"}),
        ("job", {"state": "PAUSED"}),
    ]
    assert all(event.job_id == job.id for event in events)


def test_from_where_one_stopped(store: Store) -> None:
    job, claim = running(store)
    for i in range(5):
        store.log(claim, str(i))
    assert [event.seq for event in store.events(job.id, after=3)] == [4, 5, 6, 7]
    assert [event.seq for event in store.events(job.id, after=3, limit=2)] == [4, 5]
    assert store.events(job.id, after=7) == ()


def test_a_tailing_reader_misses_nothing(store: Store) -> None:
    """Four writers at once, one reader that goes on after the last number it saw."""
    job, claim = running(store)
    done = threading.Event()
    seen: list[int] = []

    def write(name: int) -> None:
        for i in range(15):
            store.log(claim, f"{name}.{i}")

    def tail() -> None:
        while True:
            last = done.is_set()
            seen.extend(event.seq for event in store.events(job.id, seen[-1] if seen else 0, 7))
            if last and len(seen) >= 62:
                return
            time.sleep(0.001)

    reader = threading.Thread(target=tail)
    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join(timeout=20)
    assert seen == list(range(1, 63))
