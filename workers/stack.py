"""Rows that are trained together, as one set of tensors."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dsl.candidate import Candidate
from workers.blocks import Block, arranged
from workers.draws import Draws
from workers.ground import Ground
from workers.rows import RuleRows
from workers.tasks.task import Split

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


class Stack:
    """Some rows of a population. Rows of one rule lie beside each other within a block.

    Attributes:
        rows: the population's numbers of the rows still running, in the stack's own order.
        step: steps taken.
    """

    def __init__(self, ground: Ground, rows: Sequence[int], candidates: Sequence[Candidate]):
        """Draw weights and prepare the rules of `candidates`, one for each of `rows`."""
        blocks = arranged([each.seed for each in candidates])
        order = [row for block in blocks for row in block]
        candidates = [candidates[row] for row in order]
        self._ground, self.rows, self.step = ground, [rows[row] for row in order], 0
        seeds = [each.seed for each in candidates]
        self._weights, self._buffers = ground.initial(seeds)
        self._gradients = torch.zeros_like(self._weights)
        self._blocks: list[Block] = []
        for block in blocks:
            start = self._blocks[-1].span.stop if self._blocks else 0
            self._blocks.append(Block(ground, seeds[start : start + len(block)], start))
        draws, steps = Draws(seeds, self._weights), ground.protocol.steps
        self._rules = [
            RuleRows(candidates, spans, steps, ground.layout, draws)
            for spans in together(candidates, [block.span for block in self._blocks])
        ]
        self.slots = {
            self.rows[row]: rule.slots
            for rule in self._rules
            for span in rule.spans
            for row in span
        }
        self._losses = self._weights.new_zeros(WINDOW, len(self.rows))
        self._loss_sum = self._weights.new_zeros(len(self.rows))
        self._bound: Tensor | None = None
        self._summed = 0
        self._place()

    def _place(self) -> None:
        for block in self._blocks:
            block.place(self._weights, self._gradients, self._buffers)
        for rule in self._rules:
            rule.place(self._weights, self._gradients)

    def advance(self, until: int) -> list[Diverged]:
        """Train up to step `until`; return the rows that diverged on the way, now dropped."""
        found: list[Diverged] = []
        while self.step < until and self.rows:
            end = min(until, self.step + WINDOW - self.step % WINDOW)
            for step in range(self.step, end):
                losses = self._losses[step % WINDOW]
                for block in self._blocks:
                    losses[block.span.start : block.span.stop] = block.step(step)
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
        found: dict[str, list[float]] = defaultdict(list)
        for block in self._blocks:
            for name, values in block.measure(split, self.step).items():
                found[f"{split}_{name}"] += values.tolist()
        return found

    def train_loss(self) -> list[float]:
        """Return the mean loss over the batches since the last call, over `rows`."""
        mean = (self._loss_sum / max(1, self._summed)).tolist()
        self._loss_sum, self._summed = torch.zeros_like(self._loss_sum), 0
        return [float(value) for value in mean]

    def copy(self) -> Tensor:
        """Return a copy of all weights, [rows, width]."""
        return self._weights.clone()

    def weights(self) -> list[dict[str, Tensor]]:
        """Return every row's parameters by name."""
        parameters = self._ground.layout.views(self._weights)
        return [
            {name: values[i].clone() for name, values in parameters.items()}
            for i in range(len(self.rows))
        ]

    def drop(self, rows: Iterable[int]) -> None:
        """Take rows out of the tensors, so that time really falls."""
        gone = set(rows)
        kept = [i for i, row in enumerate(self.rows) if row not in gone]
        if len(kept) == len(self.rows):
            return
        place = {old: new for new, old in enumerate(kept)}
        self._rules = [now for rule in self._rules for now in rule.keep(place)]
        for block in self._blocks:
            within = [i - block.span.start for i in block.span if i in place]
            start = sum(i < block.span.start for i in kept)
            if len(within) < len(block.span) or start != block.span.start:
                block.keep(within, start)
        self._blocks = [block for block in self._blocks if block.span]
        self.rows = [self.rows[i] for i in kept]
        index = torch.tensor(kept, dtype=torch.int64, device=self._weights.device)
        self._weights, self._gradients = self._weights[index], self._gradients[index]
        self._buffers = {name: value[index] for name, value in self._buffers.items()}
        self._losses, self._loss_sum = self._losses[:, index], self._loss_sum[index]
        self._bound = None if self._bound is None else self._bound[index]
        self._place()


def together(candidates: Sequence[Candidate], blocks: Sequence[range]) -> list[list[range]]:
    """Return the rows that each rule steps at once: a span, or one of the same length per block.

    Operations on twice the rows take less than twice the time: on small models calling them is
    half of it.
    """
    found: dict[tuple[str, str, int], list[list[range]]] = defaultdict(list)
    for number, block in enumerate(blocks):
        for span in consecutive(candidates, block):
            first = candidates[span.start]
            spans = found[first.rule, first.decay, len(span)]
            partner = next((each for each in spans if len(each) == number == 1), None)
            if partner:
                partner.append(span)
            else:
                spans.append([span])
    return sorted((spans for alike in found.values() for spans in alike), key=lambda x: x[0].start)


def consecutive(candidates: Sequence[Candidate], rows: range) -> list[range]:
    """Cut rows where the rule or the kind of decay changes."""
    starts = [
        row
        for row in rows
        if row == rows.start
        or (candidates[row].rule, candidates[row].decay)
        != (candidates[row - 1].rule, candidates[row - 1].decay)
    ]
    return [range(*ends) for ends in pairwise([*starts, rows.stop])]


def explain(loss: float, bound: float) -> str:
    """Return why a row with this training loss has diverged."""
    if loss != loss or abs(loss) == float("inf"):
        return "the training loss is no longer a finite number"
    return f"the training loss reached {loss:.3g}, over the bound {bound:.3g}"
