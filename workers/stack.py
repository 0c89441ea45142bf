"""Rows that are trained together, as one set of tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dsl.candidate import Candidate
from workers.batches import Batches, Data
from workers.draws import Draws
from workers.layout import Layout
from workers.module_draws import ModuleDraws, measuring, training
from workers.precision import in_precision
from workers.protocol import Protocol
from workers.rows import RuleRows
from workers.stacking import held, stack_task, trained
from workers.tasks.task import Split, Task
from workers.trial_step import Finding, failed_later, try_step

WINDOW = 8
"""Steps between two looks at the losses; on a GPU every look waits for the device."""

BOUND = 1e4
"""A row has diverged when its loss is over BOUND · (1 + |its first loss|)."""


@dataclass(frozen=True)
class Diverged:
    """The end of a row whose numbers ran away."""

    row: int
    step: int
    reason: str


class Ground:
    """What all stacks of a population share: the task, its data, model and layout."""

    def __init__(self, task: Task, protocol: Protocol, device: str, dtype: torch.dtype) -> None:
        """Prepare `task` on a device and in a precision."""
        self.protocol, self.dtype = protocol, dtype
        self.device = torch.device(device)
        self.task = in_precision(task, protocol.precision, self.device.type)
        self.data = Data(task, self.device, dtype)
        self.model = stack_task(self.task)
        self.layout = Layout(task.initial(0))

    @cached_property
    def finding(self) -> Finding:
        """What a tried step tells of the task's module.

        Raises:
            Exception: whatever the task itself raises in an ordinary step.
        """
        return try_step(self.task, self.model, self.data, self.protocol.batch_size)

    def stop_stacking(self, error: Exception) -> None:
        """Have what is begun from now on trained one by one, for a stack raised `error`."""
        self.finding = failed_later(self.task, self.data, self.protocol.batch_size, error)

    def obstacle(self, candidate: Candidate) -> str | None:
        """Return why the candidate has to be trained by itself; None where it is stacked."""
        if candidate.imported:
            return "its optimizer, which is no rule, takes one model at a time"
        return self.finding.obstacle

    def draws(self, seeds: Sequence[int], *, stacked: bool) -> ModuleDraws | None:
        """Return the module's own draws for rows with these seeds.

        None if it has none, or if it cannot be stacked: torch's generator then draws for each row.
        """
        if not self.finding.draws or self.finding.obstacle:
            return None
        return ModuleDraws(seeds, self.device, stacked=stacked)

    def initial(self, seeds: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the rows' first weights [rows, width] and buffers by name, [rows, *shape]."""
        distinct = sorted(set(seeds))
        modules = [self.task.initial(seed).to(self.device, self.dtype) for seed in distinct]
        place = torch.tensor([distinct.index(seed) for seed in seeds], device=self.device)
        packed = torch.stack([self.layout.pack(trained(each)) for each in modules])
        fixed = [held(each) for each in modules]
        buffers = {name: torch.stack([each[name] for each in fixed])[place] for name in fixed[0]}
        return packed[place], buffers


class Stack:
    """Some rows of a population. Rows of one rule lie beside each other.

    Attributes:
        rows: the population's numbers of the rows still running.
        step: steps taken.
    """

    def __init__(self, ground: Ground, rows: Sequence[int], candidates: Sequence[Candidate]):
        """Draw weights and prepare the rules of `candidates`, one for each of `rows`."""
        self._ground, self.rows, self.step = ground, list(rows), 0
        protocol, seeds = ground.protocol, [each.seed for each in candidates]
        self._weights, self._buffers = ground.initial(seeds)
        self._gradients = torch.zeros_like(self._weights)
        self._batches = Batches(
            ground.data.split("train"), seeds, protocol.batch_size, protocol.steps
        )
        self._module_draws = ground.draws(seeds, stacked=True)
        draws = Draws(seeds, self._weights)
        self._rules: list[RuleRows] = []
        for group in consecutive(candidates):
            start = sum(rule.count for rule in self._rules)
            self._rules.append(RuleRows(group, protocol.steps, ground.layout, draws, start))
        self.slots = {
            row: rule.slots
            for row, rule in zip(
                self.rows, (rule for rule in self._rules for _ in range(rule.count)), strict=True
            )
        }
        self._losses = self._weights.new_zeros(WINDOW, len(self.rows))
        self._loss_sum = self._weights.new_zeros(len(self.rows))
        self._bound: Tensor | None = None
        self._summed = 0
        self._place()

    def _place(self) -> None:
        layout, start = self._ground.layout, 0
        self._parameters = layout.views(self._weights)
        self._gradient_views = layout.views(self._gradients)
        for rule in self._rules:
            end = start + rule.count
            rule.place(self._weights[start:end], self._gradients[start:end])
            start = end

    def advance(self, until: int) -> list[Diverged]:
        """Train up to step `until`; return the rows that diverged on the way, now dropped."""
        found: list[Diverged] = []
        while self.step < until and self.rows:
            end = min(until, self.step + WINDOW - self.step % WINDOW)
            for step in range(self.step, end):
                with training(self._module_draws, step):
                    self._losses[step % WINDOW] = self._ground.model.step(
                        self._parameters,
                        self._buffers,
                        self._batches.at(step),
                        shared=self._batches.shared,
                        gradients=self._gradient_views,
                    )
                for rule in self._rules:
                    rule.step(step)
            begin, self.step = self.step, end
            found += self._look(begin, end)
        return found

    def _look(self, begin: int, end: int) -> list[Diverged]:
        losses = self._losses[begin % WINDOW : begin % WINDOW + end - begin]
        if self._bound is None:
            # a finite bound, which no infinite loss is under
            most = torch.finfo(losses.dtype).max
            self._bound = (BOUND * (1 + losses[0].abs())).clamp(max=most)
        # one by one: a sum over steps is rounded by where a row's column lies
        for each in losses:
            self._loss_sum += each
        self._summed += end - begin
        bad = ~(losses.abs() <= self._bound)
        if not bool(bad.any()):
            return []
        countdown = torch.arange(end - begin, 0, -1, device=bad.device).unsqueeze(1)
        at = end - begin - (bad * countdown).amax(0).clamp(min=1)
        ended = bad.any(0).nonzero().flatten().tolist()
        values = losses.gather(0, at.unsqueeze(0)).squeeze(0).tolist()
        bounds, steps = self._bound.tolist(), at.tolist()
        found = [
            Diverged(self.rows[i], begin + steps[i], explain(values[i], bounds[i])) for i in ended
        ]
        self.drop([each.row for each in found])
        return found

    def measure(self, split: Split) -> dict[str, list[float]]:
        """Return the metrics of a split, each a list over `rows`."""
        examples = self._ground.data.split(split)
        with measuring(self._module_draws, self.step):
            found = self._ground.model.measure(self._parameters, self._buffers, examples)
        return {f"{split}_{name}": values.tolist() for name, values in found.items()}

    def train_loss(self) -> list[float]:
        """Return the mean loss over the batches since the last call, over `rows`."""
        mean = (self._loss_sum / max(1, self._summed)).tolist()
        self._loss_sum, self._summed = torch.zeros_like(self._loss_sum), 0
        return [float(value) for value in mean]

    def weights(self) -> list[dict[str, Tensor]]:
        """Return every row's parameters by name."""
        return [
            {name: values[i].clone() for name, values in self._parameters.items()}
            for i in range(len(self.rows))
        ]

    def drop(self, rows: Iterable[int]) -> None:
        """Take rows out of the tensors, so that time really falls."""
        gone = set(rows)
        kept = [i for i, row in enumerate(self.rows) if row not in gone]
        if len(kept) == len(self.rows):
            return
        index = torch.tensor(kept, dtype=torch.int64, device=self._weights.device)
        start = 0
        for rule in self._rules:
            within = [i - start for i in kept if start <= i < start + rule.count]
            start += rule.count
            if len(within) < rule.count:
                rule.keep(torch.tensor(within, dtype=torch.int64, device=index.device))
        self._rules = [rule for rule in self._rules if rule.count]
        self.rows = [self.rows[i] for i in kept]
        self._weights, self._gradients = self._weights[index], self._gradients[index]
        self._buffers = {name: value[index] for name, value in self._buffers.items()}
        self._losses, self._loss_sum = self._losses[:, index], self._loss_sum[index]
        self._bound = None if self._bound is None else self._bound[index]
        self._batches.keep(index)
        if self._module_draws:
            self._module_draws.keep(index)
        self._place()


def consecutive(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Cut candidates where the rule or the kind of decay changes."""
    groups: list[list[Candidate]] = []
    for each in candidates:
        if groups and (groups[-1][0].rule, groups[-1][0].decay) == (each.rule, each.decay):
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def explain(loss: float, bound: float) -> str:
    """Return why a row with this training loss has diverged."""
    if loss != loss or abs(loss) == float("inf"):
        return "the training loss is no longer a finite number"
    return f"the training loss reached {loss:.3g}, over the bound {bound:.3g}"
