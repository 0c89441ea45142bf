"""`char-lm`: the next character of English text, by a small recurrent network."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.tasks.splits import Splits
from workers.tasks.task import Examples, Model, Split, Stacked, Task
from workers.workspace import Workspace

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,'\""
OTHER = len(ALPHABET)
"""Stands for every sign that the alphabet lacks."""

SYMBOLS = OTHER + 1
EMBEDDING, HIDDEN = 16, 32
LENGTH = 16
"""Characters read, and predicted, in one example."""

AT_ONCE = {"cpu": 1_024, "cuda": 65_536}
"""Examples of all rows computed at once: on a CPU their activations should stay in the cache."""

JUDGED = 512
"""Examples of the validation and the test split: measuring must stay cheap beside training."""


@cache
def _load() -> Splits:
    # half a megabyte of text that only this task needs
    from pydoc_data.topics import topics

    paragraphs = sorted(
        {" ".join(part.split()) for text in topics.values() for part in text.split("\n\n")}
    )
    # A paragraph's own hash decides its split and its place: so no text stands in two splits
    # (topics repeat each other's paragraphs), and where Python's versions differ in some
    # paragraphs, the others stay where they are.
    hashed = sorted((crc32(paragraph.encode()), paragraph) for paragraph in paragraphs)
    texts: dict[Split, list[str]] = {"train": [], "validation": [], "test": []}
    for code, paragraph in hashed:
        split: Split = "validation" if code % 10 == 0 else "test" if code % 10 == 1 else "train"
        texts[split].append(paragraph)
    return {
        "train": _windows(texts["train"], None),
        "validation": _windows(texts["validation"], JUDGED),
        "test": _windows(texts["test"], JUDGED),
    }


def _windows(paragraphs: list[str], limit: int | None) -> Examples:
    """Return paragraphs as windows [n, LENGTH + 1] int64 that share one character, the first n."""
    signs = {sign: code for code, sign in enumerate(ALPHABET)}
    text = " ".join(paragraphs).lower()
    codes = torch.tensor([signs.get(sign, OTHER) for sign in text])
    return (codes.unfold(0, LENGTH + 1, LENGTH)[:limit].clone(),)


class _Network(nn.Module):
    """Embedding, GRU, and a logit for each symbol."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, EMBEDDING)
        self.recurrent = nn.GRU(EMBEDDING, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, SYMBOLS)

    def forward(self, signs: Tensor) -> Tensor:
        """Return logits [batch, length, symbols] from signs [batch, length]."""
        states, _ = self.recurrent(self.embedding(signs))
        logits: Tensor = self.output(states)
        return logits


class CharLM(Task):
    """The reference text that ships with CPython (`pydoc_data.topics`), in lower case.

    The text differs a little between Python's versions, and so do the losses, by some hundredths
    of a nat; within one version all is fixed.
    """

    name = "char-lm"
    description = (
        "the next character of 340,000 of English text (CPython's own reference), 32 symbols, "
        "16 characters of context, a GRU of 32 units; split by paragraphs, none in two splits"
    )
    metrics = ("train_loss", "validation_loss", "validation_accuracy")

    def module(self) -> nn.Module:
        """Return the network: 6,368 weights."""
        return _Network()

    def examples(self, split: Split) -> Examples:
        """Return (windows [n, 17] int64,): 16 characters to read, each one's next to predict."""
        return _load()[split]

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the mean cross entropy in nats per character."""
        windows = batch[0]
        logits = model(windows[..., :-1])
        return functional.cross_entropy(logits.flatten(0, 1), windows[..., 1:].flatten())

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return `loss` (nats per character) and `accuracy` (0 … 1)."""
        windows = examples[0]
        logits, targets = model(windows[..., :-1]), windows[..., 1:]
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        hits = (logits.argmax(-1) == targets).to(logits.dtype)
        return {"loss": loss, "accuracy": hits.mean()}

    def stacked(self) -> Stacked:
        """Return the step with both passes written as batched products."""
        return _StackedGRU()


class _StackedGRU:
    """Both passes through time by hand, the products that need no order taken out of the loop.

    There are only 32 symbols, so embedding and input weights first meet in a table of 32 rows.
    """

    def __init__(self) -> None:
        self._space = Workspace()

    def step(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        batch: Examples,
        *,
        shared: bool,
        gradients: Mapping[str, Tensor],
    ) -> Tensor:
        windows = batch[0].unsqueeze(0) if shared else batch[0]
        losses = []
        for rows in _chunks(weights, windows):
            held, found = (
                {name: value[rows] for name, value in tensors.items()}
                for tensors in (weights, gradients)
            )
            losses.append(_step(held, windows if shared else windows[rows], found, self._space))
        return torch.cat(losses)

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        windows, space = examples[0].unsqueeze(0), Workspace()
        targets = windows[..., 1:].transpose(1, 2).flatten(1)
        losses, accuracies = [], []
        for rows in _chunks(weights, windows):
            held = {name: value[rows] for name, value in weights.items()}
            logits = _logits(held, _through_time(held, windows, space).states)
            own = targets.expand(len(logits), -1)
            picked = logits.gather(2, own.unsqueeze(2)).squeeze(2)
            losses.append((logits.logsumexp(2) - picked).mean(1))
            accuracies.append((logits.argmax(2) == own).to(logits.dtype).mean(1))
        return {"loss": torch.cat(losses), "accuracy": torch.cat(accuracies)}


def _chunks(weights: Mapping[str, Tensor], windows: Tensor) -> Iterator[slice]:
    """Yield the rows that are computed at once."""
    size = max(1, AT_ONCE.get(windows.device.type, 1_024) // windows.shape[1])
    for start in range(0, len(weights["output.bias"]), size):
        yield slice(start, start + size)


class _Passage(NamedTuple):
    """What the pass through time leaves behind, tensors [rows, length, batch, ·]."""

    states: Tensor
    """From the first, which is zero: length + 1 of them."""

    gates: Tensor
    """Reset and update, after the sigmoid."""

    new: Tensor
    """The candidate state, after the tanh."""

    recalled: Tensor
    """What the reset gate multiplies."""


def _signs(windows: Tensor, rows: int) -> Tensor:
    """Return the signs read as rows of all tables, [rows, length, batch]."""
    first = SYMBOLS * torch.arange(rows, device=windows.device).view(-1, 1, 1)
    return windows[..., :-1].transpose(1, 2) + first


def _through_time(weights: Mapping[str, Tensor], windows: Tensor, space: Workspace) -> _Passage:
    """Run the GRU over all but the last sign of windows [rows or 1, batch, length + 1]."""
    rows, batch = len(weights["output.bias"]), windows.shape[1]
    inward, recurrent = weights["recurrent.weight_ih_l0"], weights["recurrent.weight_hh_l0"]
    bias = weights["recurrent.bias_hh_l0"].unsqueeze(1)
    both, length = 2 * HIDDEN, windows.shape[2] - 1
    table = torch.baddbmm(
        weights["recurrent.bias_ih_l0"].unsqueeze(1),
        weights["embedding.weight"],
        inward.transpose(1, 2),
    )
    table[..., :both] += bias[..., :both]
    symbols, signs = table.flatten(0, 1), _signs(windows, rows).transpose(0, 1).flatten(1)
    states = space.take("states", table, (rows, length + 1, batch, HIDDEN))
    states[:, 0] = 0
    gates = space.take("gates", table, (rows, length, batch, both))
    new = space.take("new", table, (rows, length, batch, HIDDEN))
    recalled = space.take("recalled", table, (rows, length, batch, HIDDEN))
    entered = space.take("entered", table, (rows * batch, both + HIDDEN))
    passed = space.take("passed", table, (rows, batch, both + HIDDEN))
    across, offset_new = recurrent.transpose(1, 2), bias[..., both:]
    entered_both, entered_new = _cut(entered.view_as(passed), both)
    passed_both, passed_new = _cut(passed, both)
    # all views at once: made one by one they cost as much as the arithmetic
    state, gate, fresh, memory = (each.unbind(1) for each in (states, gates, new, recalled))
    reset, update = (each.unbind(1) for each in _cut(gates, HIDDEN))
    for t, sign in enumerate(signs.unbind(0)):
        torch.index_select(symbols, 0, sign, out=entered)
        torch.bmm(state[t], across, out=passed)
        torch.add(entered_both, passed_both, out=gate[t]).sigmoid_()
        torch.add(passed_new, offset_new, out=memory[t])
        torch.addcmul(entered_new, reset[t], memory[t], out=fresh[t])
        # the tanh of x is 2σ(2x) - 1, in a third of the time
        fresh[t].mul_(2).sigmoid_().mul_(2).sub_(1)
        torch.lerp(fresh[t], state[t], update[t], out=state[t + 1])
    return _Passage(states, gates, new, recalled)


def _cut(values: Tensor, where: int) -> tuple[Tensor, Tensor]:
    """Return views of the last dimension's numbers up to `where`, and of the others."""
    return values[..., :where], values[..., where:]


def _logits(weights: Mapping[str, Tensor], states: Tensor) -> Tensor:
    """Return a logit for each symbol, [rows, length·batch, symbols]."""
    after, out = states[:, 1:].flatten(1, 2), weights["output.weight"]
    return torch.baddbmm(weights["output.bias"].unsqueeze(1), after, out.transpose(1, 2))


def _entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross entropies [rows] and their gradients by the logits."""
    count = logits.shape[1]
    chances = logits.softmax(2)
    # the largest chance is the inverse of softmax's denominator, so no other exponential
    total = logits.amax(2) - chances.amax(2).log_()
    losses = (total - logits.gather(2, targets).squeeze(2)).sum(1) / count
    hits = chances.new_full((), -1.0).expand_as(targets)
    return losses, chances.scatter_add_(2, targets, hits).div_(count)


def _step(
    weights: Mapping[str, Tensor],
    windows: Tensor,
    gradients: Mapping[str, Tensor],
    space: Workspace,
) -> Tensor:
    passage = _through_time(weights, windows, space)
    rows = len(passage.new)
    targets = windows[..., 1:].transpose(1, 2).flatten(1).expand(rows, -1).unsqueeze(2)
    losses, error = _entropy(_logits(weights, passage.states), targets)
    after = passage.states[:, 1:].flatten(1, 2)
    gradients["output.weight"].copy_(torch.bmm(error.transpose(1, 2), after))
    gradients["output.bias"].copy_(error.sum(1))
    wanted = torch.bmm(error, weights["output.weight"]).view_as(passage.new)
    back, fresh = _back_in_time(passage, wanted, weights["recurrent.weight_hh_l0"], space)

    back, fresh, before = back.flatten(1, 2), fresh.flatten(1, 2), passage.states[:, :-1]
    gradients["recurrent.weight_hh_l0"].copy_(torch.bmm(back.transpose(1, 2), before.flatten(1, 2)))
    gradients["recurrent.bias_hh_l0"].copy_(back.sum(1))
    signs = _signs(windows, rows).flatten()
    table = _summed(signs, back)
    table[..., 2 * HIDDEN :] = _summed(signs, fresh)
    gradients["recurrent.bias_ih_l0"].copy_(table.sum(1))
    gradients["recurrent.weight_ih_l0"].copy_(
        torch.bmm(table.transpose(1, 2), weights["embedding.weight"])
    )
    gradients["embedding.weight"].copy_(torch.bmm(table, weights["recurrent.weight_ih_l0"]))
    return losses


def _summed(signs: Tensor, values: Tensor) -> Tensor:
    """Return the sums of values [rows, length·batch, n] over equal signs, [rows, symbols, n]."""
    rows, _, width = values.shape
    sums = values.new_zeros(rows * SYMBOLS, width)
    return sums.index_add_(0, signs, values.flatten(0, 1)).view(rows, SYMBOLS, width)


def _back_in_time(
    passage: _Passage, wanted: Tensor, recurrent: Tensor, space: Workspace
) -> tuple[Tensor, Tensor]:
    """Return the gradients by the recurrent product, and by what enters the candidate state."""
    states, gates, new, recalled = passage
    rows, length, batch, _ = new.shape
    back = space.take("back", new, (rows, length, batch, 3 * HIDDEN))
    fresh = space.take("fresh", new, new.shape)
    through_tanh = torch.ops.aten.tanh_backward.grad_input
    through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
    sigmoids = space.take("sigmoids", new, (rows, batch, 2 * HIDDEN))
    by_reset, by_update = _cut(sigmoids, HIDDEN)
    before, gate, made, memory = (each.unbind(1) for each in (states, gates, new, recalled))
    reset, update = (each.unbind(1) for each in _cut(gates, HIDDEN))
    moved, by_new, wants = (each.unbind(1) for each in (back, fresh, wanted))
    by_gates, by_memory = (each.unbind(1) for each in _cut(back, 2 * HIDDEN))
    state = wants[-1]
    for t in reversed(range(length)):
        kept = state * update[t]
        through_tanh(state - kept, made[t], grad_input=by_new[t])
        torch.mul(by_new[t], memory[t], out=by_reset)
        torch.mul(state, before[t] - made[t], out=by_update)
        through_sigmoid(sigmoids, gate[t], grad_input=by_gates[t])
        torch.mul(by_new[t], reset[t], out=by_memory[t])
        if t:
            state = torch.baddbmm(kept.add_(wants[t - 1]), moved[t], recurrent)
    return back, fresh
