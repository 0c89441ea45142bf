"""Whether a Ray cluster that this process is attached to still lives, seen from outside.

Ray tells nobody that it has died: whoever waits for an actor of it waits for ever.
"""

import socket
import threading
import time

Address = tuple[str, int]
"""Host and port."""

PROBE_SECONDS = 3.0
"""How long a process may take to accept a connection."""

LOOK_SECONDS = 1.0
"""How often it is tried whether the cluster's processes listen."""

SILENCE_SECONDS = 10.0
"""How long the head may be silent: where its state is kept it comes back, and all goes on. Well
below the 60 s after which Ray ends every process that is attached to a head that is gone."""


class Watch:
    """Tries, when it is asked, whether the cluster's processes accept connections; thread-safe.

    Args:
        head: Where the cluster's control store (GCS) listens.
        raylet: Where the raylet of this machine listens, by which this process is attached.
    """

    def __init__(self, head: Address, raylet: Address) -> None:
        self._head = head
        self._raylet = raylet
        self._lock = threading.Lock()
        self._looked = self._heard = time.monotonic()
        self._fault: str | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the head was silent when it was last tried, and may yet come back."""
        return self._heard < self._looked

    def fault(self) -> str | None:
        """Return what has died or does not answer, for people, or None; once so, it stays so."""
        with self._lock:
            now = time.monotonic()
            if self._fault is None and now - self._looked >= LOOK_SECONDS:
                self._looked = now
                self._fault = self._look(now)
            return self._fault

    def _look(self, now: float) -> str | None:
        if isinstance(refusal(self._raylet), ConnectionRefusedError):
            return "this machine's raylet died"
        if refusal(self._head) is None:
            self._heard = now
        elif now - self._heard >= SILENCE_SECONDS:
            return f"its head has not answered for {SILENCE_SECONDS:g} s"
        return None


def refusal(address: Address) -> OSError | OverflowError | None:
    """Return why nothing can be reached at an address, or None where something listens."""
    try:
        socket.create_connection(address, PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:  # The latter where the port is no port.
        return error
    return None
