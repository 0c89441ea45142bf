"""The driver that waits: kept from job to job, replaced where it is gone, ended in the end."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from service import assembly
from service import drivers as room
from service.drivers import Driver, Drivers
from service.jobs import JOB_SPEC
from tests.service.test_dispatcher import DISCOVER, SLOW, TUNE
from tests.workers import judging
from workers.driver import Plan, lives


def build_uneven(job_json: str, past: assembly.Past) -> Plan:
    """The real plan on two CPUs, whose populations do not end at the same time."""
    return replace(assembly.build(job_json, past), judge="tests.workers.judging:unevenly")


UNEVEN = f"{__name__}:build_uneven"


@pytest.fixture
def drivers(local_ray: Path) -> Iterator[Drivers]:
    (local_ray / "diary").unlink(missing_ok=True)
    employed = Drivers(SLOW, 2, lasting=True)
    yield employed
    employed.close()


def run_to_end(driver: Driver, body: dict[str, Any]) -> None:
    job = JOB_SPEC.validate_python(body).model_dump_json()
    run = driver.actor.run.options(num_returns="streaming")
    for reference in run.remote(UNEVEN, job, ((), None, {}, "job")):
        ray.get(reference)


def test_the_next_job_has_the_driver_and_the_workers_of_the_last(
    drivers: Drivers, local_ray: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ANSWER_SECONDS", 60.0)
    drivers.tend()
    first = drivers._spare
    points = {**TUNE, "budget": {"trials": 6, "steps": 3}}
    # Its comparison waits for all of its search, so that one worker waits while the other works.
    rules = {**DISCOVER, "budget": {"rules": 8}}
    for body in (points, rules):
        driver = drivers.take()
        assert driver is first
        run_to_end(driver, body)
        drivers.give_back(driver)
        drivers.tend()
    assert lives(driver.name)
    processes = {process for process, _ in judging.entries(local_ray)}
    assert len(processes) <= 2, "more than there are CPUs: one was replaced"


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
