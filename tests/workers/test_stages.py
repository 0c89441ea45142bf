import threading

import pytest

from dsl.outcome import Outcome, TrialState
from workers.evaluation import Report
from workers.stages import Judged, Stages


def report(step: int) -> Outcome:
    return Outcome(number=0, state=TrialState.PRUNED, step=step)


def test_a_judgement_goes_on_as_far_as_it_is_asked() -> None:
    reached = []

    def judge(heard: Report) -> Judged:
        for step in (10, 30):
            reached.append(step)
            heard(report(step))
        return [report(90)], []

    stages = Stages(judge)
    assert reached == []
    assert stages.next() == report(10)
    assert reached == [10]
    assert stages.next() == report(30)
    assert stages.next() is None
    assert stages.end() == ([report(90)], [])
    stages.stop()


def test_what_is_stopped_ends_there_and_leaves_no_thread() -> None:
    beyond = []

    def judge(heard: Report) -> Judged:
        try:
            heard(report(10))
        except Exception:  # as a judge that tries each proposal again by itself
            beyond.append("again")
        beyond.append("on")
        return [], []

    before = threading.active_count()
    stages = Stages(judge)
    stages.next()
    stages.stop()
    assert beyond == []
    assert threading.active_count() == before


def test_what_a_judgement_raises_is_raised_to_who_asks() -> None:
    def judge(heard: Report) -> Judged:
        heard(report(10))
        raise LookupError("gone")

    stages = Stages(judge)
    stages.next()
    with pytest.raises(LookupError, match="gone"):
        stages.next()
