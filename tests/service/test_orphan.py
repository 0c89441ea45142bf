"""A service without a parent of its own outlives its Ray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import orphan

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(2 * orphan.LIMIT_SECONDS)
def test_a_service_whose_parent_is_process_1_outlives_its_raylet() -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "tests.service.orphan", str(writing)]
    try:
        subprocess.run(command, cwd=ROOT, pass_fds=[writing], check=True)
    finally:
        os.close(writing)
    # To its end, which is that of the process.
    with open(reading) as report:
        told = report.read().splitlines()
    assert told == [
        "the raylet of the service's own Ray died",
        "left",
        "joined again",
        "a worker watches its raylet",
        "left again",
    ]
