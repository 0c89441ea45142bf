"""The dispatcher's way to Ray: a local one, or a cluster by its address."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from service.environment import setting
from service.settings import Settings
from service.watch import Watch, refusal

# Ray's core takes the raylet for dead, and ends a process that loses its connection to it, when
# the process of this number is; where it knows none, when its own parent is process 1, as a
# service's often is. A raylet's death is told by `Cluster.fault` here, so the core is to watch
# this very process. It reads the variable as it is loaded, and never again: so nothing may load
# Ray before this module does, and what Ray starts later does not inherit it.
with setting({"RAY_RAYLET_PID": str(os.getpid())}):
    import ray
    from ray._private import ray_constants
    from ray._private import worker as ray_worker

OBJECT_STORE_BYTES = 256 * 2**20
"""Of the local Ray: messages are small, so its default of 30 % of the memory is not needed."""

INLINE_BYTES = 64 * 2**20
"""Of the local Ray: messages up to this size are sent and not laid into the object store. When the
raylet dies, Ray ends the whole process that then reads from that store."""

_VITAL = {
    ray_constants.PROCESS_TYPE_RAYLET: "raylet",
    ray_constants.PROCESS_TYPE_GCS_SERVER: "control store (GCS)",
}
"""The processes of the local Ray without which nothing runs."""

_log = logging.getLogger(__name__)


class Unreachable(Exception):  # noqa: N818 - as the store's errors are named
    """Ray cannot be used now; the message says which and why, for people."""


class ClusterLost(Exception):  # noqa: N818 - as the store's errors are named
    """Ray, joined before, has died; the message says what of it, for people."""


class Cluster:
    """The Ray that a dispatcher works with: its own local one, or a cluster by its address.

    `join` and `leave` belong to one thread, with which an own Ray ends; the others to any.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._joined = False
        self._watch: Watch | None = None

    @property
    def doubtful(self) -> bool:
        """Whether a part of the cluster is silent, and may yet come back."""
        return self._watch is not None and self._watch.doubtful

    def join(self) -> None:
        """Attach to the cluster, or start a local Ray, unless that is done.

        Raises:
            Unreachable: See `connect`.
        """
        if connect(self._settings):
            self._joined = True
        quieten()
        # Ray's client, at ray://, knows of no processes.
        if self._settings.ray_address and ray_worker.global_worker.connected:
            try:
                self._watch = _watch()
            except Exception as error:
                what = f"the Ray cluster at {self._settings.ray_address} tells nothing of itself"
                raise Unreachable(f"{what}: {first_line(error)}") from error

    def leave(self) -> None:
        """Detach from the cluster, or end the local Ray, if `join` did the contrary or it died."""
        dead = self.fault() is not None
        self._watch = None
        if self._joined or dead:
            ray.shutdown()
            self._joined = False

    def fault(self) -> str | None:
        """Return what of the joined Ray has died, for people, or None; takes seconds at most."""
        if not self._settings.ray_address:
            dead = _dead()
            return f"the {' and the '.join(dead)} of the service's own Ray died" if dead else None
        fault = None if self._watch is None else self._watch.fault()
        return fault and f"the Ray cluster at {self._settings.ray_address} is lost: {fault}"

    def check(self) -> None:
        """Raise ClusterLost where there is a `fault`."""
        fault = self.fault()
        if fault is not None:
            raise ClusterLost(fault)


def _dead() -> list[str]:
    """Return which processes of the local Ray, this process's children, have ended."""
    node = ray_worker._global_node
    dead: list[str] = [kind for kind, _ in node.dead_processes()] if node else []
    return [name for kind, name in _VITAL.items() if kind in dead]


def _watch() -> Watch:
    """Return a watch over the cluster that this process is attached to."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    (own,) = [node for node in nodes if node["NodeID"] == context.get_node_id()]
    head = (host.strip("[]"), int(port))
    return Watch(head, (own["NodeManagerAddress"], own["NodeManagerPort"]))


def connect(settings: Settings) -> bool:
    """Attach to the cluster of the settings, or start a local one, unless Ray runs already.

    Returns:
        Whether it was done now; then `ray.shutdown` is due at the end.

    Raises:
        Unreachable: The cluster does not answer, or the local Ray does not start.
    """
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = settings.ray_address
    if address:
        # First, because Ray itself tries for minutes and tells it in raw lines.
        _probe(address)
        options["address"] = address
    else:
        options |= {
            "address": "local",
            "num_cpus": settings.cpus,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_system_config": {"max_direct_call_object_size": INLINE_BYTES},
        }
    try:
        with _environment(), nullcontext() if address else _loopback():
            ray.init(**options)
    except Exception as error:
        what = f"the Ray cluster at {address} cannot be joined" if address else "Ray does not start"
        raise Unreachable(f"{what}: {first_line(error)}") from error
    return True


def quieten() -> None:
    """Have Ray's own notices of errors logged as one line each.

    Ray prints a coloured paragraph for every worker or raylet that dies, and has no setting for it.
    A job's driver and the dispatcher tell the same in their own words.
    """
    ray_worker.print_to_stdstream = _log_notice


def first_line(error: BaseException) -> str:
    """Return an error's kind and its first line, short enough to read."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


def _log_notice(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    for text in data["lines"]:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(text)).strip()
        sentence = plain.partition("\n")[0].partition(". ")[0][:200]
        told = any(known in sentence for known in ("worker died", "Raylet is terminated"))
        level = logging.DEBUG if told else logging.WARNING
        _log.log(level, "Ray says: %s", sentence)


def _probe(address: str) -> None:
    """Raise Unreachable unless something listens at host:port; other forms are left to Ray."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    error = refusal((host.strip("[]"), int(port)))
    if error is not None:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"the Ray cluster at {address} cannot be reached: {reason}") from error


@contextmanager
def _loopback() -> Iterator[None]:
    """Have a Ray that is started now listen on 127.0.0.1 alone.

    It takes that address for "this machine, by the name that others know", and listens on all of
    its interfaces, but where it can have no cluster: so it is told, here and in its processes.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        with setting({name: "0"}):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _environment() -> Iterator[None]:
    """Set what Ray's processes inherit when they are started, and only then."""
    root = str(Path(__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = {
        # Where this very code stands, installed or not.
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    with setting(wanted):
        yield
