"""A worker trains populations for days: its memory must not grow with them."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dsl.candidate import Candidate, ScheduleSpec
from dsl.compile import compile_rule
from dsl.outcome import TrialState
from workers.population import train_population
from workers.protocol import Protocol, SuccessiveHalving
from workers.tasks.registry import TASKS

POPULATIONS, WARM, BOUND = 1000, 100, 8 * 2**20
"""Populations in all, those that may fill caches, and the bytes that the rest may add."""


def resident() -> int:
    """Return the bytes of this process's memory that are in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def one_population(number: int) -> None:
    """Train rules nobody saw before and one that all know; rows diverge and are pruned."""
    candidates = [
        Candidate(rule=f"{1 + number / 5000} * ema(g, beta)", lr=1e-4),
        Candidate(
            rule=f"noise(0.1) + drop(g, {0.1 + number / 5000})",
            lr=1e-3,
            seed=number % 2,
            schedule=ScheduleSpec(name="cosine", settings={"warmup": number / 5000}),
        ),
        Candidate(rule="adam", lr=0.1, hyperparameters={"beta1": number / 5000}),
        Candidate(rule="g", lr=1e9),
    ]
    pruner = SuccessiveHalving(reduction=2, min_steps=1)
    results = train_population(
        TASKS["rosenbrock"], candidates, Protocol(steps=2, pruner=pruner), points=2
    )
    assert {result.state for result in results} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.INFEASIBLE,
    }


def growth() -> int:
    """Return the bytes by which the process grew after the first populations."""
    for number in range(600):
        compile_rule(f"g / {number + 1}")
    for number in range(WARM):
        one_population(number)
    before = resident()
    for number in range(WARM, POPULATIONS):
        one_population(number)
    return resident() - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_over_1000_populations() -> None:
    code = f"import torch; torch.set_num_threads(1); from {__name__} import *; print(growth())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < BOUND
