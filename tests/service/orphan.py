"""A process whose parent has ended, as a service's often has; it loses its own Ray and goes on.

Run as `python -m tests.service.orphan FD`: it tells each step, one line each, to the pipe FD.
"""

import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

import psutil

LIMIT_SECONDS = 300
"""How long the process may live: nobody else would end it."""


def leave_parent() -> None:
    """Go on in a child process, which process 1 (or the nearest subreaper) adopts."""
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.alarm(LIMIT_SECONDS)
    while os.getppid() == parent:
        time.sleep(0.01)


def survive(report: int) -> None:
    """Join an own Ray, kill its raylet, leave, and join another."""
    # First, as a server loads it: nothing that it loads may load Ray before `service.cluster`.
    import_module("service.dispatcher")
    import ray

    from service.cluster import Cluster
    from service.settings import Settings

    def say(line: str) -> None:
        os.write(report, f"{line}\n".encode())

    cluster = Cluster(Settings(cpus=1))
    cluster.join()
    (raylet,) = [each for each in psutil.Process().children() if each.name() == "raylet"]
    raylet.kill()
    while (fault := cluster.fault()) is None:
        time.sleep(0.01)
    say(fault)
    cluster.leave()
    say("left")
    cluster.join()
    say("joined again")
    watched, parent = ray.get(ray.remote(watched_and_parent).remote())
    say("a worker watches its raylet" if watched == parent else f"a worker watches {watched}")
    cluster.leave()
    say("left again")


def watched_and_parent() -> tuple[int, int]:
    """Return the process that a worker was told to watch when it was started, and its parent."""
    variables = Path("/proc/self/environ").read_bytes().split(b"\0")
    (watched,) = [each for each in variables if each.startswith(b"RAY_RAYLET_PID=")]
    return int(watched.partition(b"=")[2]), os.getppid()


if __name__ == "__main__":
    leave_parent()
    pipe = int(sys.argv[1])
    # Its end tells that this process has ended, whatever it has started.
    os.set_inheritable(pipe, False)
    survive(pipe)
