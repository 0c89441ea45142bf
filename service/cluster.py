"""The dispatcher's way to Ray: a local one, or a cluster by its address."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import worker as ray_worker

from service.settings import Settings

OBJECT_STORE_BYTES = 256 * 2**20
"""Of the local Ray: messages are small, so its default of 30 % of the memory is not needed."""

PROBE_SECONDS = 3.0
"""How long a cluster's port may take to answer."""

_log = logging.getLogger(__name__)


class Unreachable(Exception):  # noqa: N818 - as the store's errors are named
    """Ray cannot be used now; the message says which and why, for people."""


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
            "_node_ip_address": "127.0.0.1",
        }
    try:
        with _environment():
            ray.init(**options)
    except Exception as error:
        what = f"the Ray cluster at {address} cannot be joined" if address else "Ray does not start"
        raise Unreachable(f"{what}: {first_line(error)}") from error
    return True


def quieten() -> None:
    """Have Ray's own notices of errors logged as one line each.

    Ray prints a coloured paragraph for every worker that dies, and has no setting for it. A job's
    driver tells the same in the job's own events.
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
        level = logging.DEBUG if "worker died" in sentence else logging.WARNING
        _log.log(level, "Ray says: %s", sentence)


def _probe(address: str) -> None:
    """Raise Unreachable unless something listens at host:port; other forms are left to Ray."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"the Ray cluster at {address} cannot be reached: {reason}") from error


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
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
