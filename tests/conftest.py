"""Fixtures for every room: one local Ray for the tests of a module."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent

# For every process a test starts as well: the tests' tensors are small, and threads that wait for
# each other by spinning take minutes where a machine shows more cores than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_report_header() -> str:
    """Say what the run had at its disposal: a slow or crowded machine explains much."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"
    memory = psutil.virtual_memory()
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return (
        f"machine: {platform.machine()}, {usable} of {os.cpu_count()} cores, load {load}, "
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB of memory and "
        f"{free / 2**30:.1f} GiB of disk free"
    )


@pytest.fixture(scope="module")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local Ray with two CPUs, whose workers can import the project and its tests.

    Gives a folder that the workers know too, as RULESMITH_TEST_FOLDER.
    """
    import ray

    folder = tmp_path_factory.mktemp("workers")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    patch.setenv("RULESMITH_TEST_FOLDER", str(folder))
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 * 2**20,
        _node_ip_address="127.0.0.1",
    )
    yield folder
    ray.shutdown()
    patch.undo()
