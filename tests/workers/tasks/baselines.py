"""What plain optimizers reach on every task: `python -m tests.workers.tasks.baselines` tells anew.

Each baseline is trained at every learning rate of the protocol's grid, over several seeds; the
rate with the best mean loss stands in `tests/golden/tasks.json` with what each seed reached.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from dsl.candidate import Candidate
from dsl.outcome import TrialState
from optimizers.catalogue import CATALOGUE
from workers.population import RowResult, train_population
from workers.protocol import GRID, Protocol
from workers.tasks.landscape import Landscape
from workers.tasks.registry import TASKS

GOLDEN = Path(__file__).parents[2] / "golden" / "tasks.json"
NAMES = ("sgd", "momentum", "adam", "adamw")
SEEDS = 3
STEPS = {"digits-conv": 60, "char-lm": 100, "beale": 1000, "rosenbrock": 1000, "quadratic": 400}
USUAL_STEPS = 200
SMALLEST = 1e-10
"""Of a landscape's value: nearer to the exact optimum float32 leaves only noise."""


def steps_of(task: str) -> int:
    return STEPS.get(task, USUAL_STEPS)


def score(task: str, loss: float) -> float:
    """Return the loss of a task with data, the logarithm of a landscape's."""
    return math.log(max(loss, SMALLEST)) if isinstance(TASKS[task], Landscape) else loss


def train(
    task: str, rates: Mapping[str, Iterable[float]]
) -> dict[str, dict[float, list[RowResult]]]:
    """Return what came of every baseline at each of its rates, a list over the seeds."""
    rows = [
        Candidate(
            rule=CATALOGUE[name].rule,
            lr=rate,
            seed=seed,
            decay=CATALOGUE[name].decay,
            weight_decay=CATALOGUE[name].weight_decay,
        )
        for name, own in rates.items()
        for rate in own
        for seed in range(SEEDS)
    ]
    protocol = Protocol(steps=steps_of(task), test=True)
    results = iter(train_population(TASKS[task], rows, protocol, points=1))
    return {
        name: {rate: [next(results) for _ in range(SEEDS)] for rate in own}
        for name, own in rates.items()
    }


def best(task: str, by_rate: Mapping[float, list[RowResult]]) -> float:
    """Return the rate with the smallest mean loss among those at which no seed diverged."""
    sound = {
        rate: fmean(score(task, each.metrics["validation_loss"]) for each in by_seed)
        for rate, by_seed in by_rate.items()
        if all(each.state is TrialState.COMPLETE for each in by_seed)
    }
    return min(sound, key=lambda rate: sound[rate])


def found(task: str) -> dict[str, Any]:
    trained, chosen = train(task, dict.fromkeys(NAMES, GRID)), {}
    for name, by_rate in trained.items():
        rate = best(task, by_rate)
        by_seed = {
            metric: [float(f"{each.metrics[metric]:.5g}") for each in by_rate[rate]]
            for metric in sorted(by_rate[rate][0].metrics)
        }
        chosen[name] = {"lr": rate, **by_seed}
    return {"steps": steps_of(task), "baselines": chosen}


def main() -> None:
    torch.set_num_threads(1)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    for task in sys.argv[1:] or TASKS:
        golden[task] = found(task)
        print(task, json.dumps(golden[task], indent=1), flush=True)
        GOLDEN.write_text(
            json.dumps({name: golden[name] for name in sorted(golden)}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
