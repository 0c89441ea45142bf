"""One reader of the event log for all who watch a job, so that watchers cost the store nothing."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread

from service.resources import TERMINAL, Event
from service.store.errors import NotFound
from service.store.store import Store

POLL_SECONDS = 0.25
KEPT = 1000

log = logging.getLogger(__name__)


class Tail:
    """The latest events of one job, kept while somebody watches it."""

    def __init__(self, store: Store, job_id: str, after: int) -> None:
        self._store = store
        self._job_id = job_id
        self._last = after
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._changed = asyncio.Condition()
        self.watchers = 0
        self.ended = False

    async def run(self) -> None:
        """Read new events into the tail until the job has ended or the task is cancelled."""
        try:
            while not self.ended:
                ended = await to_thread.run_sync(self._over)
                events = await to_thread.run_sync(self._store.events, self._job_id, self._last)
                if events:
                    self._kept.extend(events)
                    self._last = events[-1].seq
                # The state was read before the events: those of a job that had ended are all here.
                self.ended = ended and not events
                if events or self.ended:
                    async with self._changed:
                        self._changed.notify_all()
                if not events and not self.ended:
                    await asyncio.sleep(POLL_SECONDS)
        except NotFound:  # deleted while it was watched
            await self._end()
        except Exception:
            # The streams end and their clients come back, by then to a store that answers.
            log.exception("the events of job %s could not be read", self._job_id)
            await self._end()

    async def _end(self) -> None:
        self.ended = True
        async with self._changed:
            self._changed.notify_all()

    def _over(self) -> bool:
        return self._store.job(self._job_id).state in TERMINAL

    async def after(self, seq: int, timeout: float) -> tuple[Event, ...]:
        """Return the events that follow `seq`; wait up to `timeout` seconds for the first."""
        if self._last <= seq and not self.ended:
            try:
                async with asyncio.timeout(timeout), self._changed:
                    await self._changed.wait_for(lambda: self._last > seq or self.ended)
            except TimeoutError:
                return ()
        if self._last <= seq:
            return ()
        if self._kept and self._kept[0].seq <= seq + 1:
            return tuple(event for event in self._kept if event.seq > seq)
        # Further back than the tail reaches.
        return await to_thread.run_sync(self._store.events, self._job_id, seq)


class Feed:
    """The tails of all watched jobs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tails: dict[str, tuple[Tail, asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def tail(self, job_id: str, after: int) -> AsyncIterator[Tail]:
        """Lend the tail of a job, started for the first watcher and stopped after the last."""
        if job_id not in self._tails or self._tails[job_id][0].ended:
            fresh = Tail(self._store, job_id, after)
            self._tails[job_id] = (fresh, asyncio.create_task(fresh.run()))
        tail, task = self._tails[job_id]
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if tail.watchers == 0:
                task.cancel()
                if self._tails.get(job_id, (None,))[0] is tail:
                    del self._tails[job_id]
