"""How fast are rules? Exported files against torch's own AdamW, in the same run.

`python -m tests.benchmarks.bench_optimizers` steps the weights of an 18-layer residual network
(about 11 million float32 numbers in 62 tensors) with fixed gradients. "Per byte" divides a time by
the bytes that the update must at least move, 4 for each number: g read, w and each slot read and
written. That is 7 numbers a weight for Adam and AdamW (g, w, m, v; w, m, v), 5 for PowerSign
(g, w, m; w, m). The floor is memory itself: torch.add(a, b, out=c) on one tensor, 3 numbers.
Every optimizer takes a step in each round, so that what else the machine does falls on all. On a
CPU the processor time of all threads is shown, too, which a machine with other work disturbs less.
"""

import math
import statistics
import time
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from dsl.compile import CompiledRule
from dsl.export import to_torch
from dsl.validate import program_of
from optimizers.catalogue import CATALOGUE
from optimizers.rule import RuleOptimizer
from tests.benchmarks.results import record

ROUNDS = 60
RULES = ("powersign", "adam")


def shapes() -> list[tuple[int, ...]]:
    """Return the shapes of a residual network's weights."""
    found: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    before = 64
    for width, blocks in ((64, 2), (128, 2), (256, 2), (496, 2)):
        for block in range(blocks):
            found += [(width, before if block == 0 else width, 3, 3), (width,), (width,)]
            found += [(width, width, 3, 3), (width,), (width,)]
            if block == 0 and before != width:
                found += [(width, before, 1, 1), (width,), (width,)]
        before = width
    return [*found, (1000, before), (1000,)]


def parameters(device: str) -> list[torch.Tensor]:
    """Return weights with gradients."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes():
        p = torch.randn(shape, generator=generator).mul_(0.02).to(device).requires_grad_()
        p.grad = torch.randn(shape, generator=generator).mul_(0.01).to(device)
        params.append(p)
    return params


def exported(name: str) -> Any:
    """Return the class in a rule's exported file."""
    entry = CATALOGUE[name]
    module = types.ModuleType("exported")
    source = to_torch(entry.rule, lr=1e-4, decay="decoupled", weight_decay=0.01)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module.__dict__["Rule"]


def floor(device: str) -> Callable[[], Any]:
    """Return an addition of one tensor as large as all weights."""
    a, b, c = (torch.zeros(sum(map(math.prod, shapes())), device=device) for _ in range(3))
    return lambda: torch.add(a, b, out=c)


def optimizers(device: str) -> dict[str, tuple[Callable[[], Any], int]]:
    """Return the steps that are measured, each with how many tensors like w it moves."""
    decay: dict[str, Any] = {"lr": 1e-4, "weight_decay": 0.01}
    found: dict[str, tuple[Callable[[], Any], int]] = {
        "floor: torch.add": (floor(device), 3),
        "AdamW(foreach=True)": (
            torch.optim.AdamW(parameters(device), foreach=True, **decay).step,
            7,
        ),
        "AdamW(fused=True)": (torch.optim.AdamW(parameters(device), fused=True, **decay).step, 7),
    }
    for name in RULES:
        rule, kind = CATALOGUE[name].rule, exported(name)
        moved = 3 + 2 * len(CompiledRule(rule).slots)
        found[f"{name} exported"] = kind(parameters(device)).step, moved
        found[f"{name} exported, compiled"] = kind(parameters(device), compiled=True).step, moved
        own = RuleOptimizer(parameters(device), rule, decay="decoupled", **decay)
        found[f"{name} RuleOptimizer"] = own.step, moved
    return found


def timed(step: Callable[[], Any], device: str) -> tuple[float, float]:
    """Return the seconds that a call takes, and those that its threads compute."""
    start, busy = time.perf_counter(), time.process_time()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - busy


def table(device: str) -> None:
    """Print the times of a step, and their ratios to AdamW's."""
    found = optimizers(device)
    for name, (step, _) in found.items():
        first = timed(step, device)[0]
        if "compiled" in name:
            print(f"{name}: first step {first:.1f} s")
        timed(step, device)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for _ in range(ROUNDS):
        for name, (step, _) in found.items():
            times[name].append(timed(step, device))
    size = sum(map(math.prod, shapes()))
    print(f"{device}: {size / 1e6:.1f} million weights in {len(shapes())} tensors, {ROUNDS} rounds")
    for clock, title in enumerate(("elapsed", "processor")[: 2 if device == "cpu" else 1]):
        middle = {
            name: statistics.median(row[clock] for row in rows) for name, rows in times.items()
        }
        least = {name: min(row[clock] for row in rows) for name, rows in times.items()}
        print(f"{title + ' time':30}{'ms: median':>11}{'least':>8}{'GB/s':>7}", end="")
        print(f"{'/ foreach':>11}{'/ fused, per byte':>19}")
        for name, (_, moved) in found.items():
            speed = moved * 4 * size / middle[name] / 1e9
            whole = [each[name] / each["AdamW(foreach=True)"] for each in (middle, least)]
            byte = [each[name] / moved / each["AdamW(fused=True)"] * 7 for each in (middle, least)]
            print(
                f"{name:30}{middle[name] * 1e3:11.1f}{least[name] * 1e3:8.1f}{speed:7.1f}"
                f"{whole[0]:6.2f} {whole[1]:4.2f}{byte[0]:14.2f} {byte[1]:4.2f}"
            )
            if title.startswith("elapsed") and name.endswith("exported"):
                record(
                    f"{name} ({device}), time", whole[0], peer="AdamW(foreach=True)", at_most=1.1
                )
            elif title.startswith("elapsed") and name.endswith("compiled"):
                peer = "AdamW(fused=True)"
                record(f"{name} ({device}), time per byte", byte[0], peer=peer, at_most=1.1)
    print("(ratios: of the medians, of the least)")


def _anew(text: str) -> None:
    """Compile a rule that nobody has read yet."""
    program_of.cache_clear()
    CompiledRule(text)


def compilation() -> None:
    """Print how long rules take from text to a function."""
    CompiledRule("adam")
    costs = {}
    for name, entry in CATALOGUE.items():
        costs[name] = min(timed(partial(_anew, entry.rule), "cpu")[0] for _ in range(5))
    slowest = max(costs, key=lambda name: costs[name])
    print(
        f"Parse, check and compile a rule: median {statistics.median(costs.values()) * 1e3:.2f} ms "
        f"over the catalogue, longest {costs[slowest] * 1e3:.2f} ms ({slowest}); 2 ms wanted"
    )
    record("parse, check and compile, slowest", costs[slowest] * 1e3, "ms", at_most=2, rule=slowest)


def main() -> None:
    """Print both tables, and a GPU's where there is one."""
    compilation()
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        table(device)


if __name__ == "__main__":
    main()
