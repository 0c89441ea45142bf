from collections.abc import Iterator
from pathlib import Path

import pytest

from dsl.candidate import Stage
from dsl.outcome import TrialState
from service.resources import JobState
from service.store.store import Store
from service.web.digest import Digests, Point, best_so_far
from tests.browser import seed
from tests.browser.seed import outcome


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'rulesmith.db'}")
    opened.migrate()
    yield opened
    opened.close()


def test_a_digest_follows_the_job_and_reads_on_from_the_first_open_trial(store: Store) -> None:
    running, digests = seed.start(store), Digests(store)
    running.ask(4)
    running.tell(outcome(0, 0.5), outcome(2, 0.3))
    digest = digests.of(store.job(running.job_id))
    assert digest.mark == 1
    assert [p.value for p in digest.search()] == [0.5, None, 0.3, None]

    running.ask(1)
    running.tell(outcome(1, 0.4), outcome(3, 9.0, state=TrialState.INFEASIBLE))
    digest = digests.of(store.job(running.job_id))
    assert digest.mark == 4
    assert [p.value for p in digest.search()] == [0.5, 0.4, 0.3, None, None]
    assert digest.seconds() == pytest.approx(3 * 0.5 + 0.1)
    assert digest.steps() == 3 * 100 + 10


def test_a_job_that_goes_on_is_read_anew(store: Store) -> None:
    running, digests = seed.start(store), Digests(store)
    running.ask(2)
    running.tell(outcome(0, 0.5))
    for _ in range(3):
        store.record_lost(running.claim, [1], "the worker died")
    digest = digests.of(store.job(running.job_id))
    assert digest.mark == 2
    assert digest.failures() == [(TrialState.FAILED, "the worker died", 1)]

    store.finish(running.claim, JobState.PAUSED)
    store.request(running.job_id, "resume")
    claim = store.claim("tests", 60)
    assert claim is not None
    running.claim, running.asked = claim, 1
    running.ask(1)
    running.tell(outcome(1, 0.1))
    digest = digests.of(store.job(running.job_id))
    assert digest.points[1].value == 0.1
    assert digest.failures() == []


def test_reasons_that_differ_in_numbers_are_one_kind(store: Store) -> None:
    running = seed.start(store)
    running.ask(3)
    infeasible = TrialState.INFEASIBLE
    running.tell(*(outcome(n, 10.0**n, state=infeasible) for n in range(3)))
    digest = Digests(store).of(store.job(running.job_id))
    assert digest.failures() == [(infeasible, "the loss was … at step …: diverged", 3)]


def point(value: float | None, state: TrialState = TrialState.COMPLETE) -> Point:
    return Point(0, state, Stage.SEARCH, value, None, 0.0, 0, 0, False, None, {})


def test_the_best_so_far_never_gets_worse_and_counts_complete_trials_only() -> None:
    points = [
        point(None, TrialState.INFEASIBLE),
        point(3.0),
        point(1.0, TrialState.PRUNED),
        point(2.0),
        point(5.0),
    ]
    assert best_so_far(points, 1.0) == [None, 3.0, 3.0, 2.0, 2.0]
    assert best_so_far(points, -1.0) == [None, 3.0, 3.0, 3.0, 5.0]
