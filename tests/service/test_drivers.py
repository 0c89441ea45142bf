"""The driver that waits: kept from job to job, replaced where it is gone, ended in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from service import drivers as room
from service.drivers import Driver, Drivers
from service.jobs import JOB_SPEC
from tests.service.test_dispatcher import SLOW, TUNE
from tests.workers import judging
from workers.driver import lives

JOB = JOB_SPEC.validate_python({**TUNE, "budget": {"trials": 12, "steps": 3}}).model_dump_json()


@pytest.fixture
def drivers(local_ray: Path) -> Iterator[Drivers]:
    (local_ray / "diary").unlink(missing_ok=True)
    employed = Drivers(SLOW, 2, lasting=True)
    yield employed
    employed.close()


def run_to_end(driver: Driver) -> None:
    run = driver.actor.run.options(num_returns="streaming")
    for reference in run.remote(SLOW, JOB, ((), None, {}, "job")):
        ray.get(reference)


def test_the_next_job_has_the_driver_and_the_workers_of_the_last(
    drivers: Drivers, local_ray: Path
) -> None:
    processes = []
    for _ in range(2):
        before = len(judging.entries(local_ray))
        driver = drivers.take()
        run_to_end(driver)
        drivers.give_back(driver)
        drivers.tend()
        processes.append({process for process, _ in judging.entries(local_ray)[before:]})
    assert lives(driver.name)
    assert processes[0] == processes[1]
    assert drivers.take() is driver
    drivers.dismiss(driver)


def test_a_driver_that_died_while_it_waited_is_not_taken(drivers: Drivers) -> None:
    drivers.tend()
    first = drivers.take()
    drivers.give_back(first)
    ray.kill(first.actor)
    while lives(first.name):
        pass
    second = drivers.take()
    assert second.name != first.name
    drivers.dismiss(second)


def test_a_driver_that_dies_while_it_waits_is_replaced_before_a_job_comes(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    drivers.tend()
    first = drivers._spare
    assert first is not None
    ray.kill(first.actor)
    while lives(first.name):
        pass
    drivers.tend()
    second = drivers._spare
    assert second is not None
    assert second is not first
    assert drivers.take() is second
    drivers.dismiss(second)


def test_one_alone_waits_and_none_on_a_shared_cluster(local_ray: Path) -> None:
    for lasting in (True, False):
        employed = Drivers(SLOW, 2, lasting=lasting)
        employed.tend()
        both = [employed.take(), employed.take()]
        for driver in both:
            employed.give_back(driver)
        waits = employed.take()
        assert (waits is both[0]) is lasting
        assert waits is not both[1]
        employed.dismiss(waits)
        employed.close()
