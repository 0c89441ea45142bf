"""A judgement that stands still at every rung until somebody says that it goes on."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from dsl.outcome import Outcome
from workers.evaluation import Report


class Stopped(BaseException):
    """Nobody wants to know more. No Exception, which would count as a fault of the judgement."""


Judged = tuple[list[Outcome], list[dict[str, Any]]]
"""See `workers.trainable.judge_apart`."""


class Stages:
    """Runs a judgement in a thread of its own, from one report to the next.

    Args:
        judge: Judges, and reports to what it is given; its value is the end.
    """

    def __init__(self, judge: Callable[[Report], Judged]) -> None:
        self._judge = judge
        self._reports: SimpleQueue[Outcome | None] = SimpleQueue()
        self._goes_on: SimpleQueue[bool] = SimpleQueue()
        self._judged: list[Judged] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def next(self) -> Outcome | None:
        """Return the next report, None at the end.

        Raises:
            BaseException: whatever the judgement raises.
        """
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._goes_on.put(True)
        report = self._reports.get()
        if self._failure is not None:
            raise self._failure
        return report

    def end(self) -> Judged:
        """Return what was judged, after `next` has said that this is the end."""
        return self._judged[0]

    def stop(self) -> None:
        """End it where it stands."""
        if self._thread.is_alive():
            self._goes_on.put(False)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._judged.append(self._judge(self._report))
        except Stopped:
            return
        except BaseException as failure:
            self._failure = failure
        self._reports.put(None)

    def _report(self, outcome: Outcome) -> None:
        self._reports.put(outcome)
        if not self._goes_on.get():
            raise Stopped
