"""Training many candidates as one tensor program, and one by one what cannot be stacked."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.outcome import Measurement, TrialState
from workers.footprint import Footprint, footprint, many_rows, most_rows
from workers.ground import Ground
from workers.inputs import check_candidates, check_place, check_settings
from workers.memory import UNLIMITED, free_bytes, out_of_memory, release
from workers.plan import Chunk, plan
from workers.precision import products
from workers.protocol import Protocol
from workers.pruning import Pruning
from workers.single import Single
from workers.snapshots import Snapshot, affordable
from workers.stack import Stack
from workers.tasks.task import Task

POINTS = 20
"""Points of a curve, besides the pruner's rungs."""


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
    obstacle: str | None = None
    """Why it was trained by itself, in an ordinary loop; None where it was stacked with others."""

    seconds: float = 0.0
    """CPU time of its training steps where it was trained one by one."""

    snapshots: tuple[Snapshot, ...] = ()
    """Points before those of the curve, not measured yet."""

    @property
    def one_by_one(self) -> bool:
        """Whether it was trained by itself in an ordinary loop, not stacked with others."""
        return self.obstacle is not None


Heard = Callable[[list[RowResult]], None]
"""Is told at every rung of a pruner that compares populations what would come of all rows if they
stopped there; it may raise to end the training."""


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
    heard: Heard | None = None,
    lazily: bool = False,
) -> list[RowResult]:
    """Train every candidate once, with its own seed, for `protocol.steps` steps.

    A candidate's result depends on the candidate alone, not on those beside it (but for the
    pruner, whose purpose is to compare them): to the bit where torch has one thread, else to
    rounding. Of the protocol, the learning-rate grid and the number of seeds are not used: see
    `workers.evaluation`. Optimizers of other libraries (`Candidate.imported`), and rules on a
    module that `torch.func` cannot stack, are trained one by one, from the same weights on the
    same batches with the same draws, and measured, stopped and pruned alike; the result says so.

    Args:
        task: what to learn.
        candidates: rules with their numbers, freely mixed; each names its `lr`.
        protocol: steps, batch size, pruner and its metric, test split or not.
        device: a torch device.
        dtype: of weights, data and states; the protocol's precision says how steps are computed.
        families: one number per candidate; the pruner compares the means of families and stops
            them as a whole (the seeds of one candidate, say). By default each is its own.
        points: of a learning curve, at least 1; more than 40 are 40.
        keep_weights: also return the final weights.
        heard: see `Heard`.
        lazily: measure at the end alone and keep snapshots of the points before (`affordable`); who
            measures those may find one that is not finite.

    Returns:
        One result per candidate, in their order.

    Raises:
        ValueError: what `workers.inputs` refuses, such as a candidate without a learning rate; a
            pruner's metric that is not measured.
        RuleError, ModuleNotFoundError: a rule that is none, a library that is not installed.
        MemoryError: one row alone does not fit into the device's memory. More rows than fit are
            trained one stack after another, which changes no result.
    """
    check_candidates(candidates)
    families = range(len(candidates)) if families is None else families
    check_settings(protocol, dtype, points, len(families), len(candidates))
    if not candidates:
        return []
    check_place(task, device)
    with products(protocol.precision), torch.no_grad():
        ground = Ground(task, protocol, device, dtype)
        chunks, size = _chunks(ground, candidates)
        run = _Run(ground, candidates, families, min(points, 40), size, heard)
        run.lazily = lazily and affordable(ground, len(candidates), points)
        run.train(chunks, keep_weights)
    return [run.results[row] for row in range(len(candidates))]


def _chunks(
    ground: Ground, candidates: Sequence[Candidate]
) -> tuple[list[Chunk], Footprint | None]:
    """Return what is trained together, and the size of a row, None where none is stacked."""
    alone = [row for row, each in enumerate(candidates) if ground.obstacle(each)]
    stacked = [each for each in candidates if not ground.obstacle(each)]
    single = [Chunk([row]) for row in alone]
    if not stacked:
        return single, None
    size = footprint(ground, stacked)
    limit = min(size.rows(), most_rows(ground, stacked))
    stacks = [Chunk(rows) for rows in plan(candidates, limit, many_rows(ground))]
    return stacks + single, size


class _Run:
    """The bookkeeping of one population: marks, curves, rungs, results, memory."""

    def __init__(
        self,
        ground: Ground,
        candidates: Sequence[Candidate],
        families: Sequence[int],
        points: int,
        size: Footprint | None,
        heard: Heard | None,
    ) -> None:
        self._ground, self._candidates, self._families = ground, candidates, families
        self._size, self._heard = size, heard
        protocol = ground.protocol
        self._pruning = Pruning(protocol.pruner, protocol.steps, set(families))
        self._rungs = self._pruning.rungs
        steps = {-(-protocol.steps * k // points) for k in range(1, points + 1)}
        self._marks = sorted(steps | set(self._rungs))
        self._curves: dict[int, list[Measurement]] = {row: [] for row in range(len(candidates))}
        self._snapshots: dict[int, list[Snapshot]] = {row: [] for row in range(len(candidates))}
        self.lazily = False
        self._slots: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self._limit, self._refusal = len(candidates), ""
        self._waiting = size is None or size.holds(len(candidates))
        """Whether the tensors of rows that wait at a rung are kept."""

        self.results: dict[int, RowResult] = {}

    def train(self, chunks: list[Chunk], keep_weights: bool) -> None:
        """Train one chunk after another from rung to rung; a row's tensors go when it ends."""
        for rung, until in enumerate([*self._rungs, self._ground.protocol.steps]):
            chunks = self._train_until(until, chunks, keep_weights)
            if until in self._rungs:
                self._halve(chunks, rung)

    def _train_until(self, until: int, chunks: list[Chunk], keep_weights: bool) -> list[Chunk]:
        """Return the chunks as they are now: what does not fit into memory is halved."""
        ahead, behind = deque(chunk for chunk in chunks if chunk.rows), list[Chunk]()
        while ahead:
            chunk = ahead.popleft()
            if len(chunk.rows) > self._limit:
                ahead.extendleft(reversed(chunk.halves()))
            elif self._fits(chunk, until, keep_weights):
                behind.append(chunk)
                if not self._waiting:
                    chunk.stack = None
            elif isinstance(chunk.stack, Stack) and self._ground.finding.obstacle:
                ahead, behind = deque(self._one_by_one([chunk, *ahead, *behind])), []
            else:
                self._make_room(chunk, [*ahead, *behind])
                ahead.appendleft(chunk)
        return behind

    def _fits(self, chunk: Chunk, until: int, keep_weights: bool) -> bool:
        """Train a chunk up to step `until`, or return False.

        False where memory does not suffice, and where the module turns out not to be stackable.
        """
        try:
            stack = chunk.stack = chunk.stack or self._begin(chunk)
            while stack.rows and stack.step < until:
                self._advance(chunk, stack)
            if until == self._ground.protocol.steps:
                self._finish(stack, keep_weights)
                chunk.stack = None
        except Exception as error:
            if out_of_memory(error):
                self._refusal = str(error).partition("\n")[0]
            elif isinstance(chunk.stack, Stack):
                self._ground.stop_stacking(error)
            else:
                raise
            return False
        finally:
            chunk.rows = [row for row in chunk.rows if row not in self.results]
        return True

    def _one_by_one(self, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        """Yield the running rows, each by itself; those of stacks begin again."""
        for chunk in chunks:
            if isinstance(chunk.stack, Single) or not chunk.rows:
                yield chunk
                continue
            for row in chunk.rows:
                self._curves[row], self._snapshots[row] = [], []
                yield Chunk([row])

    def _make_room(self, chunk: Chunk, others: Sequence[Chunk]) -> None:
        """Give up the tensors of chunks that wait, or else make chunks smaller.

        Raises:
            MemoryError: the chunk is a single row and has the memory to itself.
        """
        crowded = any(other.stack is not None for other in others)
        for each in (chunk, *others):
            each.stack = None
        release(self._ground.device)
        if crowded:
            self._waiting = False
        elif len(chunk.rows) > 1:
            self._limit = -(-len(chunk.rows) // 2)
        else:
            raise MemoryError(self._shortage())

    def _shortage(self) -> str:
        device, known = self._ground.device, self._size is not None and self._size.row < UNLIMITED
        need = f", which takes about {self._size.row:,} bytes," if self._size and known else ""
        return (
            f"one model of the task {self._ground.task.name!r}{need} does not fit into the memory "
            f"of {device}, where {free_bytes(device):,} bytes are free ({self._refusal}); lower "
            "batch_size, use a device with more memory, or end what else runs there"
        )

    def _begin(self, chunk: Chunk) -> Stack | Single:
        """Return the chunk's tensors as they were at its last mark."""
        candidates = [self._candidates[row] for row in chunk.rows]
        stack: Stack | Single
        if self._ground.obstacle(candidates[0]):
            stack = Single(self._ground, chunk.rows[0], candidates[0])
        else:
            stack = Stack(self._ground, chunk.rows, candidates)
        for mark in self._marks[: chunk.marks]:
            self._step(stack, mark)
            if stack.rows:
                stack.train_loss()
        return stack

    def _step(self, stack: Stack | Single, mark: int) -> None:
        ended = stack.advance(mark)
        self._slots.update(stack.slots)
        if isinstance(stack, Single):
            self._seconds.update(dict.fromkeys(stack.slots, stack.seconds))
        for end in ended:
            self._end(end.row, TrialState.INFEASIBLE, end.step, f"{end.reason} at step {end.step}")

    def _advance(self, chunk: Chunk, stack: Stack | Single) -> None:
        """Train up to the next mark and take down what is measured there."""
        mark = self._marks[chunk.marks]
        self._step(stack, mark)
        if not stack.rows:
            return
        columns, broken, weights = {"train_loss": stack.train_loss()}, [], None
        if self.lazily and isinstance(stack, Stack) and mark < self._ground.protocol.steps:
            weights = stack.copy()
        else:
            columns |= stack.measure("validation")
        for i, row in enumerate(stack.rows):
            metrics = {name: values[i] for name, values in columns.items()}
            if all(math.isfinite(value) for value in metrics.values()):
                self._note(row, mark, metrics, None if weights is None else weights[i])
                continue
            name = next(name for name, value in metrics.items() if not math.isfinite(value))
            reason = f"{name} is no longer a finite number at step {mark}"
            self._end(row, TrialState.INFEASIBLE, mark, reason)
            broken.append(row)
        # before rows are dropped, which takes memory: what was taken down must not be again
        chunk.marks += 1
        stack.drop(broken)

    def _note(self, row: int, mark: int, metrics: dict[str, float], weights: Tensor | None) -> None:
        if weights is None:
            self._curves[row].append(Measurement(step=mark, metrics=metrics))
        else:
            snapshot = Snapshot(self._ground, mark, metrics["train_loss"], weights)
            self._snapshots[row].append(snapshot)

    def _halve(self, chunks: Sequence[Chunk], rung: int) -> None:
        metric = self._ground.protocol.metric
        measured = next((self._curves[row][-1].metrics for c in chunks for row in c.rows), {})
        if measured and metric not in measured:
            raise ValueError(
                f"the pruner's metric {metric!r} is not measured on the task "
                f"{self._ground.task.name!r}; measured are: {', '.join(measured)}"
            )
        if self._pruning.scheduled:
            if self._heard is not None and not self.results:
                self._heard([self._so_far(row) for row in range(len(self._candidates))])
            return
        scores = defaultdict(list)
        sign = 1.0 if self._ground.protocol.direction == "minimize" else -1.0
        for chunk in chunks:
            for row in chunk.rows:
                value = self._curves[row][-1].metrics[metric]
                scores[self._families[row]].append(sign * value)
        means = {family: sum(values) / len(values) for family, values in scores.items()}
        gone = self._pruning.losers(means, rung)
        for chunk in chunks:
            rows = {row for row in chunk.rows if self._families[row] in gone}
            for row in rows:
                self._end(row, TrialState.PRUNED, self._rungs[rung])
            chunk.drop(rows)

    def _so_far(self, row: int) -> RowResult:
        """Return what came of a row if it stopped at its last measurement."""
        curve = self._curves[row]
        return RowResult(
            TrialState.PRUNED,
            curve[-1].step,
            curve[-1].metrics,
            tuple(curve),
            self._slots[row],
            obstacle=self._ground.obstacle(self._candidates[row]),
            seconds=self._seconds.get(row, 0.0),
        )

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
            obstacle=self._ground.obstacle(self._candidates[row]),
            seconds=self._seconds.get(row, 0.0),
            snapshots=tuple(self._snapshots.pop(row)),
        )
