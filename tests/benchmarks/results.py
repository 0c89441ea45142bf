"""Where benchmarks keep their figures: one file a run, headed by the machine's description.

A benchmark prints what it likes and calls `record` once for each figure:

    record("population against a loop, digits-mlp", 15.1, "times", at_least=12.0, peer="...")

`python -m tests.benchmarks` opens the file, writes each figure the moment it is recorded (so that
a run that stops half-way keeps what it has), and prints all of them as a table in the end. A
benchmark that runs by itself, `python -m tests.benchmarks.bench_NAME`, only prints.

The file holds one JSON object a line: first the machine, then the figures.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import torch

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".benchmarks"
LIBRARIES = ("torch", "numpy", "ray", "optuna")


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    benchmark: str
    what: str
    value: float
    unit: str
    peer: str | None = None
    """What the value is a ratio to, measured in the same run."""

    at_least: float | None = None
    at_most: float | None = None
    details: dict[str, Any] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value is as wanted; None where nothing is."""
        if self.at_least is None and self.at_most is None:
            return None
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= self.value <= high


class Results:
    """The figures of one run, in a file and in memory."""

    def __init__(self, file: TextIO) -> None:
        """Write the machine's description into `file`."""
        self._file = file
        self.benchmark = ""
        self.figures: list[Figure] = []
        self._write({"machine": machine()})

    def add(self, figure: Figure) -> None:
        """Keep a figure."""
        self.figures.append(figure)
        self._write({**asdict(figure), "met": figure.met})

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, allow_nan=False) + "\n")
        self._file.flush()


_open: list[Results] = []


def record(
    what: str,
    value: float,
    unit: str = "times",
    *,
    peer: str | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    **details: Any,
) -> None:
    """Keep a figure of the benchmark that runs now, if its run keeps results.

    Args:
        what: what was measured, on what; the same words in every run.
        value: the figure, a finite number.
        unit: of the value; "times" is a ratio to `peer`.
        peer: what it is compared with.
        at_least: the smallest value that is good enough.
        at_most: the largest value that is good enough.
        details: whatever else a reader of the file should know, as JSON can hold it.

    Raises:
        ValueError: the value is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"the figure {what!r} is {value}; figures are finite numbers")
    if _open:
        benchmark = _open[-1].benchmark
        figure = Figure(benchmark, what, float(value), unit, peer, at_least, at_most, details)
        _open[-1].add(figure)


@contextmanager
def kept(path: Path) -> Iterator[Results]:
    """Keep what is recorded meanwhile in a new file at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        results = Results(file)
        _open.append(results)
        try:
            yield results
        finally:
            _open.remove(results)


def fresh_path() -> Path:
    """Return the default place of a run's file, named by the time."""
    return FOLDER / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.jsonl"


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory / 1e9, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "gpu": gpu,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    """Return the processor's name, as Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the source, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def table(figures: list[Figure]) -> str:
    """Return the figures as lines, each with what was wanted."""
    lines = []
    for each in figures:
        bounds = ((">=", each.at_least), ("<=", each.at_most))
        wanted = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
        verdict = {None: "", True: "  met", False: "  MISSED"}[each.met]
        lines.append(
            f"{each.benchmark:12} {each.what:64} {each.value:10.4g} {each.unit:14} "
            f"{' and '.join(wanted)}{verdict}".rstrip()
        )
    return "\n".join(lines)
