"""`char-lm`: the next character of English text, by a small recurrent network."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.tasks.splits import Splits
from workers.tasks.task import Examples, Model, Split, Stacked, Task

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,'\""
OTHER = len(ALPHABET)
"""Stands for every sign that the alphabet lacks."""

SYMBOLS = OTHER + 1
EMBEDDING, HIDDEN = 16, 32
LENGTH = 16
"""Characters read, and predicted, in one example."""

CHUNK = 16
"""Rows computed at once, so that their activations stay in the cache."""

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
        for start in range(0, len(weights["output.bias"]), CHUNK):
            rows = slice(start, start + CHUNK)
            held, found = (
                {name: value[rows] for name, value in tensors.items()}
                for tensors in (weights, gradients)
            )
            losses.append(_step(held, windows if shared else windows[rows], found))
        return torch.cat(losses)

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        windows = examples[0].unsqueeze(0)
        targets = windows[..., 1:].transpose(1, 2).flatten(1)
        losses, accuracies = [], []
        for start in range(0, len(weights["output.bias"]), CHUNK):
            held = {name: value[start : start + CHUNK] for name, value in weights.items()}
            chances = _log_chances(held, _through_time(held, windows).states)
            picked = chances.gather(2, targets.expand(len(chances), -1).unsqueeze(2))
            losses.append(-picked.mean((1, 2)))
            accuracies.append((chances.argmax(2) == targets).to(chances.dtype).mean(1))
        return {"loss": torch.cat(losses), "accuracy": torch.cat(accuracies)}


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
    """Return the signs read, in order of rows, time, batch, as rows of all tables [rows·32]."""
    signs = windows[..., :-1].transpose(1, 2).flatten(1)
    first = SYMBOLS * torch.arange(rows, device=signs.device).unsqueeze(1)
    return (signs + first).flatten()


def _through_time(weights: Mapping[str, Tensor], windows: Tensor) -> _Passage:
    """Run the GRU over all but the last sign of windows [rows or 1, batch, length + 1]."""
    rows, batch = len(weights["output.bias"]), windows.shape[1]
    inward, recurrent = weights["recurrent.weight_ih_l0"], weights["recurrent.weight_hh_l0"]
    bias = weights["recurrent.bias_hh_l0"].unsqueeze(1)
    both = 2 * HIDDEN
    table = torch.baddbmm(
        weights["recurrent.bias_ih_l0"].unsqueeze(1),
        weights["embedding.weight"],
        inward.transpose(1, 2),
    )
    table[..., :both] += bias[..., :both]
    length = windows.shape[2] - 1
    entered = table.flatten(0, 1).index_select(0, _signs(windows, rows))
    entered = entered.view(rows, length, batch, -1)
    states = table.new_zeros(rows, length + 1, batch, HIDDEN)
    gates = table.new_empty(rows, length, batch, both)
    new, recalled = (table.new_empty(rows, length, batch, HIDDEN) for _ in range(2))
    across, offset_new = recurrent.transpose(1, 2), bias[..., both:]
    for t in range(length):
        state = states[:, t]
        passed = torch.bmm(state, across)
        gate, fresh = gates[:, t], new[:, t]
        torch.add(entered[:, t, :, :both], passed[..., :both], out=gate).sigmoid_()
        torch.add(passed[..., both:], offset_new, out=recalled[:, t])
        torch.addcmul(entered[:, t, :, both:], gate[..., :HIDDEN], recalled[:, t], out=fresh)
        # the tanh of x is 2σ(2x) - 1, in a third of the time
        fresh.mul_(2).sigmoid_().mul_(2).sub_(1)
        torch.lerp(fresh, state, gate[..., HIDDEN:], out=states[:, t + 1])
    return _Passage(states, gates, new, recalled)


def _log_chances(weights: Mapping[str, Tensor], states: Tensor) -> Tensor:
    """Return the log probability of each symbol, [rows, length·batch, symbols]."""
    after, out = states[:, 1:].flatten(1, 2), weights["output.weight"]
    bias = weights["output.bias"].unsqueeze(1)
    return torch.baddbmm(bias, after, out.transpose(1, 2)).log_softmax(2)


def _step(
    weights: Mapping[str, Tensor], windows: Tensor, gradients: Mapping[str, Tensor]
) -> Tensor:
    passage = _through_time(weights, windows)
    rows, length, batch, _ = passage.new.shape
    chances = _log_chances(weights, passage.states)
    asked = windows[..., 1:].transpose(1, 2).flatten(1)
    asked = functional.one_hot(asked, SYMBOLS).to(chances.dtype)
    count = length * batch
    losses = -(chances * asked).sum((1, 2)) / count
    error = chances.exp_().sub_(asked).div_(count)
    after = passage.states[:, 1:].flatten(1, 2)
    gradients["output.weight"].copy_(torch.bmm(error.transpose(1, 2), after))
    gradients["output.bias"].copy_(error.sum(1))
    wanted = torch.bmm(error, weights["output.weight"]).view_as(passage.new)
    back, fresh = _back_in_time(passage, wanted, weights["recurrent.weight_hh_l0"])

    back, fresh, before = back.flatten(1, 2), fresh.flatten(1, 2), passage.states[:, :-1]
    gradients["recurrent.weight_hh_l0"].copy_(torch.bmm(back.transpose(1, 2), before.flatten(1, 2)))
    gradients["recurrent.bias_hh_l0"].copy_(back.sum(1))
    table = _summed(_signs(windows, rows), back)
    table[..., 2 * HIDDEN :] = _summed(_signs(windows, rows), fresh)
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


def _back_in_time(passage: _Passage, wanted: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients by the recurrent product, and by what enters the candidate state."""
    states, gates, new, recalled = passage
    rows, length, batch, _ = new.shape
    back = new.new_empty(rows, length, batch, 3 * HIDDEN)
    fresh = torch.empty_like(new)
    through_tanh = torch.ops.aten.tanh_backward.grad_input
    through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
    sigmoids = new.new_empty(rows, batch, 2 * HIDDEN)
    state = wanted[:, -1]
    for t in reversed(range(length)):
        reset, update = gates[:, t, :, :HIDDEN], gates[:, t, :, HIDDEN:]
        kept = state * update
        through_tanh(state - kept, new[:, t], grad_input=fresh[:, t])
        torch.mul(fresh[:, t], recalled[:, t], out=sigmoids[..., :HIDDEN])
        torch.mul(state, states[:, t] - new[:, t], out=sigmoids[..., HIDDEN:])
        through_sigmoid(sigmoids, gates[:, t], grad_input=back[:, t, :, : 2 * HIDDEN])
        torch.mul(fresh[:, t], reset, out=back[:, t, :, 2 * HIDDEN :])
        if t:
            state = torch.baddbmm(kept.add_(wanted[:, t - 1]), back[:, t], recurrent)
    return back, fresh
