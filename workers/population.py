"""Training many candidates as one tensor program, and one by one what cannot be stacked."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.outcome import Measurement, TrialState
from workers.protocol import Protocol, SuccessiveHalving
from workers.pruning import losers, rungs
from workers.single import Single
from workers.stack import Ground, Stack
from workers.tasks.task import Task

POINTS = 20
"""Points of a curve, besides the pruner's rungs."""

ELEMENTS = {"cpu": 640_000, "cuda": 256_000_000}
"""Weights of one stack: on a CPU weights, gradients and states should stay in the cache."""


@dataclass(frozen=True)
class RowResult:
    """What came of one candidate."""

    state: TrialState
    """COMPLETE, PRUNED or INFEASIBLE."""

    step: int
    """Steps taken."""

    metrics: dict[str, float]
    """The last finite measurement: train_loss (mean over the batches since the measurement
    before), validation_*, and test_* where the protocol asks for it."""

    curve: tuple[Measurement, ...]
    slots: int
    """Numbers of optimizer state per weight."""

    reason: str | None = None
    weights: dict[str, Tensor] | None = None
    one_by_one: bool = False
    """It was trained by itself in an ordinary loop, not stacked with others."""

    seconds: float = 0.0
    """CPU time of its training steps where it was trained one by one."""


def train_population(
    task: Task,
    candidates: Sequence[Candidate],
    protocol: Protocol,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    families: Sequence[int] | None = None,
    points: int = POINTS,
    keep_weights: bool = False,
) -> list[RowResult]:
    """Train every candidate once, with its own seed, for `protocol.steps` steps.

    A candidate's result depends on the candidate alone, not on those beside it (but for the
    pruner, whose purpose is to compare them): to the bit where torch has one thread, else to
    rounding. Of the protocol, the learning-rate grid and the number of seeds are not used: see
    `workers.evaluation`. Optimizers of other libraries (`Candidate.imported`) are trained one by
    one, from the same weights on the same batches, and measured, stopped and pruned alike.

    Args:
        task: what to learn.
        candidates: rules with their numbers, freely mixed; each names its `lr`.
        protocol: steps, batch size, pruner and its metric, test split or not.
        device: a torch device.
        dtype: precision of weights, data and states.
        families: one number per candidate; the pruner compares the means of families and stops
            them as a whole (the seeds of one candidate, say). By default each is its own.
        points: of a learning curve, at most 40.
        keep_weights: also return the final weights.

    Returns:
        One result per candidate, in their order.

    Raises:
        ValueError: a candidate without a learning rate, or with an unknown hyperparameter.
        RuleError: a rule that cannot be parsed or compiled.
        ModuleNotFoundError: an optimizer of a library that is not installed.
    """
    for i, each in enumerate(candidates):
        if each.lr is None:
            raise ValueError(f"candidate {i} names no learning rate; train_population needs one")
    if not candidates:
        return []
    ground = Ground(task, protocol, device, dtype)
    run = _Run(ground, candidates, families or range(len(candidates)), min(points, 40))
    limit = max(8, ELEMENTS.get(ground.device.type, 640_000) // ground.layout.width)
    stacks: Iterator[Stack | Single] = chain(
        (
            Stack(ground, rows, [candidates[row] for row in rows])
            for rows in plan(candidates, limit)
        ),
        (Single(ground, row, each) for row, each in enumerate(candidates) if each.imported),
    )
    with torch.no_grad():
        if rungs(protocol.pruner, protocol.steps):
            run.train(list(stacks), keep_weights)
        else:
            for stack in stacks:
                run.train([stack], keep_weights)
    return [run.results[row] for row in range(len(candidates))]


def plan(candidates: Sequence[Candidate], limit: int) -> Iterator[list[int]]:
    """Cut a population into stacks of at most `limit` rows, equal rules beside each other.

    A seed with many rows gets stacks of its own, which then share every batch. Candidates that
    cannot be stacked are left out.
    """
    stacked = [(row, each) for row, each in enumerate(candidates) if not each.imported]
    sizes = Counter(each.seed for _, each in stacked)
    crowded = {seed for seed, size in sizes.items() if 4 * size >= limit}
    apart: dict[int, list[int]] = defaultdict(list)
    for row, each in stacked:
        apart[each.seed if each.seed in crowded else -1].append(row)
    for seed in sorted(apart):
        rows = sorted(
            apart[seed], key=lambda row: (candidates[row].rule, candidates[row].decay, row)
        )
        for start in range(0, len(rows), limit):
            yield rows[start : start + limit]


class _Run:
    """The bookkeeping of one population: marks, curves, rungs, results."""

    def __init__(
        self, ground: Ground, candidates: Sequence[Candidate], families: Sequence[int], points: int
    ) -> None:
        self._ground, self._families = ground, families
        self._entered = len(set(families))
        protocol = ground.protocol
        self._rungs = rungs(protocol.pruner, protocol.steps)
        steps = {-(-protocol.steps * k // points) for k in range(1, points + 1)}
        self._marks = sorted(steps | set(self._rungs))
        self._curves: dict[int, list[Measurement]] = {row: [] for row in range(len(candidates))}
        self._slots: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self.results: dict[int, RowResult] = {}

    def train(self, stacks: Sequence[Stack | Single], keep_weights: bool) -> None:
        """Train stacks side by side from mark to mark; free each row's tensors when it ends."""
        for mark in self._marks:
            for stack in stacks:
                self._advance(stack, mark)
            if mark in self._rungs:
                self._halve(stacks, self._rungs.index(mark))
        for stack in stacks:
            self._finish(stack, keep_weights)

    def _advance(self, stack: Stack | Single, mark: int) -> None:
        ended = stack.advance(mark)
        self._slots.update(stack.slots)
        if isinstance(stack, Single):
            self._seconds.update(dict.fromkeys(stack.slots, stack.seconds))
        for end in ended:
            self._end(end.row, TrialState.INFEASIBLE, end.step, f"{end.reason} at step {end.step}")
        if not stack.rows:
            return
        columns = {"train_loss": stack.train_loss(), **stack.measure("validation")}
        broken = []
        for i, row in enumerate(stack.rows):
            metrics = {name: values[i] for name, values in columns.items()}
            if all(math.isfinite(value) for value in metrics.values()):
                self._curves[row].append(Measurement(step=mark, metrics=metrics))
                continue
            name = next(name for name, value in metrics.items() if not math.isfinite(value))
            reason = f"{name} is no longer a finite number at step {mark}"
            self._end(row, TrialState.INFEASIBLE, mark, reason)
            broken.append(row)
        stack.drop(broken)

    def _halve(self, stacks: Sequence[Stack | Single], rung: int) -> None:
        protocol, scores = self._ground.protocol, defaultdict(list)
        assert isinstance(protocol.pruner, SuccessiveHalving)
        sign = 1.0 if protocol.direction == "minimize" else -1.0
        for stack in stacks:
            for row in stack.rows:
                value = self._curves[row][-1].metrics[protocol.metric]
                scores[self._families[row]].append(sign * value)
        means = {family: sum(values) / len(values) for family, values in scores.items()}
        gone = losers(means, self._entered, rung, protocol.pruner)
        for stack in stacks:
            rows = [row for row in stack.rows if self._families[row] in gone]
            for row in rows:
                self._end(row, TrialState.PRUNED, stack.step)
            stack.drop(rows)

    def _finish(self, stack: Stack | Single, keep_weights: bool) -> None:
        if not stack.rows:
            return
        test = stack.measure("test") if self._ground.protocol.test else {}
        weights = stack.weights() if keep_weights else [None] * len(stack.rows)
        for i, row in enumerate(stack.rows):
            extra = {name: values[i] for name, values in test.items() if math.isfinite(values[i])}
            self._end(row, TrialState.COMPLETE, stack.step, None, extra, weights[i])

    def _end(
        self,
        row: int,
        state: TrialState,
        step: int,
        reason: str | None = None,
        extra: dict[str, float] | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        curve = self._curves.pop(row)
        metrics = {**(curve[-1].metrics if curve else {}), **(extra or {})}
        self.results[row] = RowResult(
            state,
            step,
            metrics,
            tuple(curve),
            self._slots[row],
            reason,
            weights,
            one_by_one=row in self._seconds,
            seconds=self._seconds.get(row, 0.0),
        )
