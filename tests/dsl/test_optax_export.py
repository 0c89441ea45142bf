"""The optax file against the torch file, in a process of its own.

JAX starts threads when it is imported and warns of every later fork of its process; other tests
fork. The steps themselves are in `optax_steps.py`.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(find_spec("optax") is None, reason="the optax extra is not installed")
def test_the_optax_file_steps_as_the_torch_file_does() -> None:
    steps = Path(__file__).with_name("optax_steps.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(steps)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]
