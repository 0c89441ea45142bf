"""`char-lm`: the next character of English text, by a small recurrent network."""

from functools import cache
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.tasks.splits import Splits
from workers.tasks.task import Examples, Model, Split, Task

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,'\""
OTHER = len(ALPHABET)
"""Stands for every sign that the alphabet lacks."""

SYMBOLS = OTHER + 1
EMBEDDING, HIDDEN = 16, 32
LENGTH = 16
"""Characters read, and predicted, in one example."""

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
