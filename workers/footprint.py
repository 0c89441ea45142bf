"""How many rows fit into a stack: what a row takes, and what there is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from dsl.candidate import Candidate
from dsl.compile import compile_rule
from workers.ground import Ground
from workers.memory import UNLIMITED, Peak, free_bytes, out_of_memory
from workers.protocol import Protocol
from workers.stack import Stack
from workers.tasks.task import Task

CACHED = 640_000
"""Weights of one stack on a CPU, where weights, gradients and states should stay in the cache."""

FEWEST = 8
"""Rows that are worth a stack on a CPU, even where they leave the cache."""

TRIED = 8
"""Rows whose memory is measured, and then twice as many: fewer where models are large."""

SHARE = {"cuda": 0.5}
"""The part of a device's free memory that one population plans to take: other populations may
start at the same time. A machine's workers divide half of its memory."""

INDEX = 4
"""Bytes of an example's index, at most."""

TABLES = 40
"""Bytes of a row's learning rate, decay and schedule at one step, with what makes them."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a population's memory."""

    row: int
    """What one more row of a stack takes while it is trained and measured."""

    kept: int
    """What is left of it while another stack is trained."""

    budget: int
    """What the population may take in all."""

    def rows(self) -> int:
        """Return how many rows fit into a stack, at least 1."""
        return max(1, self.budget // self.row)

    def holds(self, rows: int) -> bool:
        """Whether so many rows can wait beside a stack of the largest size."""
        return rows * self.kept + min(rows, self.rows()) * (self.row - self.kept) <= self.budget


def footprint(ground: Ground, candidates: Sequence[Candidate]) -> Footprint:
    """Return what each of `candidates` takes at most, and what there is.

    The model's part is measured: a step and a measurement of a few rows, and of twice as many. The
    rules' part is bounded: their states, and a tensor for each line of an update.
    """
    protocol, layout = ground.protocol, ground.layout
    model = _of_model(
        ground.task,
        Protocol(
            steps=1,
            batch_size=protocol.batch_size,
            precision=protocol.precision,
            test=protocol.test,
        ),
        ground.device,
        ground.dtype,
    )
    compiled = [compile_rule(rule) for rule in {each.rule for each in candidates}]
    states = max(len(each.slots) for each in compiled)
    lines = max(each.source.partition("def update")[2].count("\n") for each in compiled)
    seeds = len({each.seed for each in candidates}) / len(candidates)
    indices = 2 * INDEX * protocol.batch_size * seeds if ground.data.split("train") else 0
    tables = round(protocol.steps * (TABLES + indices))
    weights = layout.width * ground.dtype.itemsize
    return Footprint(
        row=model + weights * (states + lines) + tables,
        kept=weights * (2 + states) + tables,
        budget=int(free_bytes(ground.device) * _share(ground.device)),
    )


def most_rows(ground: Ground, candidates: Sequence[Candidate]) -> int:
    """Return how many rows a stack should have for speed, where memory is no question."""
    if ground.device.type != "cpu":
        return len(candidates)
    return max(FEWEST, CACHED // ground.layout.width)


def many_rows(ground: Ground) -> int | None:
    """Return for how many rows of a seed copies of their batches would leave a CPU's cache."""
    examples = ground.data.split("train")
    if ground.device.type != "cpu" or not examples:
        return None
    numbers = sum(each[0].numel() for each in examples)
    return max(1, CACHED // (numbers * ground.protocol.batch_size))


def _share(device: torch.device) -> float:
    return SHARE.get(device.type, 0.5 / (os.cpu_count() or 1))


@lru_cache(maxsize=64)
def _of_model(task: Task, protocol: Protocol, device: torch.device, dtype: torch.dtype) -> int:
    """Return the bytes of one row's weights, gradients, batch, activations and measurement.

    The test split, about as large as the validation split, is not touched: it is read once, at the
    end.
    """
    with torch.no_grad():
        ground = Ground(task, protocol, str(device), dtype)
        ground.data.split("train")
        ground.data.split("validation")
        try:
            rows = min(TRIED, max(1, CACHED // TRIED // ground.layout.width))
            few, more = (_peak(ground, count) for count in (rows, 2 * rows))
        except Exception as error:
            if out_of_memory(error):
                return UNLIMITED
            raise
    return max((more - few) // rows, 1)


def _peak(ground: Ground, rows: int) -> int:
    candidates = [Candidate(rule="g", lr=1e-6, seed=seed) for seed in range(rows)]
    with Peak() as peak:
        stack = Stack(ground, range(rows), candidates)
        stack.advance(1)
        if stack.rows:
            stack.measure("validation")
    return int(peak.bytes)
