"""1,024 children stacked on a GPU, against the ordinary loop on the same GPU.

The children and the loop are those of `bench_population`. In every round three things run one after
the other, and figures are medians of the rounds: the first few children in an ordinary loop, whose
module, data and optimizer are on the GPU; all children as one population of one seed, which shares
every batch; and as one of 1,024 seeds, which shares none. Where there is no CUDA device a line says
so and nothing is measured.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from tests.benchmarks.bench_population import (
    NAMES,
    SETTINGS,
    Setting,
    children,
    differences,
    loop,
    population,
)
from tests.benchmarks.results import record

ROWS, ROUNDS = 1024, 3


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    kept = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # the loop hands its steps to the GPU and does not wait
    seconds = time.perf_counter() - began
    del kept
    return seconds


def rounds(setting: Setting, device: str, rows: int, count: int) -> dict[str, list[float]]:
    """Return the times of each round, in microseconds per child and step, by contestant."""
    shared, scattered = children(rows), children(rows, seeds=rows)
    work: dict[str, tuple[int, Callable[[], object]]] = {
        "loop": (setting.looped, lambda: loop(setting, shared[: setting.looped], device=device)),
        "engine": (rows, lambda: population(setting, shared, device=device)),
        "scattered": (rows, lambda: population(setting, scattered, device=device)),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(count):
        for name, (trained, run) in work.items():
            times[name].append(1e6 * _seconds(run) / (trained * setting.steps))
    return times


def measure(setting: Setting, device: str, rows: int = ROWS, count: int = ROUNDS) -> None:
    """Print and record what a task gives on a device."""
    rounds(replace(setting, steps=2, looped=len(NAMES)), device, rows, 1)  # kernels are compiled
    times = rounds(setting, device, rows, count)
    us = {name: statistics.median(each) for name, each in times.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(times["loop"], times[name], strict=True))
        for name in ("engine", "scattered")
    }
    apart = differences(setting, torch.float64, device)[-1]
    print(
        f"{setting.task} on {device}: us per child and step: loop {us['loop']:.0f} (the first "
        f"{setting.looped} of the {rows} children); engine, {rows} rows, {us['engine']:.2f} with "
        f"seeds shared ({ratios['engine']:.0f} times the loop), {us['scattered']:.2f} with {rows} "
        f"seeds ({ratios['scattered']:.0f} times); final weights differ by {apart:.0e} in float64",
        flush=True,
    )
    for name, words in (("engine", "one seed"), ("scattered", f"{rows} seeds")):
        record(
            f"population of {rows} on {device}, {words}, {setting.task}",
            ratios[name],
            peer="an ordinary loop on the same device",
            us=us,
            steps=setting.steps,
        )
    record(
        f"largest relative difference of weights on {device}, {setting.task}, float64",
        apart,
        "",
        at_most=1e-5,
    )


def main() -> None:
    """Measure the three tasks where there is a GPU."""
    if not torch.cuda.is_available():
        print("no CUDA device here: 1,024 children on a GPU are left out")
        return
    for setting in SETTINGS:
        measure(setting, "cuda")


if __name__ == "__main__":
    main()
