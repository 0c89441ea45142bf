"""Who waits for work, who gets it, and when Tune's loop may stand still."""

import threading
from typing import Any

import pytest

from workers import crew as module
from workers.crew import Crew
from workers.desk import Desk


class Nothing:
    """A search that has nothing to ask."""

    finished = False

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is of no concern to a crew")


def desk(allowed: int) -> Desk:
    return Desk(Nothing(), lambda: allowed)  # type: ignore[arg-type]


def test_as_many_wait_between_jobs_as_the_crew_is_large() -> None:
    crew = Crew(2)
    assert [crew.hire(name) for name in "abc"] == [True, True, False]
    assert crew.first_ready() is None
    crew.ready("b", 10)
    crew.ready("a", 30)
    assert crew.first_ready() == "a"
    assert crew.resident == 30
    assert crew.strike("a")
    assert not crew.strike("a")
    assert crew.hire("d")


def test_workers_that_cannot_start_are_not_hired_for_ever() -> None:
    crew = Crew(2)
    crew.hire("a")
    assert crew.strike("a"), "without ever having been ready"
    assert crew.size == 0, "so that the driver is not kept"
    crew.begin(desk(2))
    assert not crew.hire("b")


def test_a_job_has_no_more_workers_than_its_share() -> None:
    crew, one = Crew(), desk(2)
    assert not crew.hire("none waits between jobs here")
    crew.begin(one)
    assert crew.has_place(one)
    assert crew.hire("a")
    one.out["b"] = (0, 1)
    assert not crew.hire("c")
    assert not crew.has_place(one), "the worker that is being started comes first"
    crew.ready("a", 0)
    assert crew.has_place(one)
    crew.handing = "d"
    assert not crew.has_place(one), "one at a time"


def test_the_loop_stands_still_only_where_nothing_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STILL_SECONDS", "standing still raises a TypeError")
    crew, one = Crew(2), desk(2)
    assert crew.next_desk() is None, "both workers are still to be hired"
    crew.hire("a")
    crew.ready("a", 0)
    assert crew.next_desk() is None, "one is still to be hired"
    crew.hire("b")
    assert crew.next_desk() is None, "one is not ready"
    crew.ready("b", 0)
    with pytest.raises(TypeError):
        crew.next_desk()
    monkeypatch.setattr(module, "STILL_SECONDS", 60.0)
    threading.Timer(0.1, crew.begin, [one]).start()
    assert crew.next_desk() is one
    assert crew.next_desk() is one
    crew.end(one)
    assert crew.desk is None
    assert one.messages.get(timeout=1) is None
