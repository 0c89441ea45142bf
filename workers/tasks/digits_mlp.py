"""`digits-mlp`: real handwritten digits and a perceptron of one hidden layer."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.products import with_shared
from workers.tasks.classification import Classification
from workers.tasks.digits import CLASSES, PIXELS, digits
from workers.tasks.task import Examples, Split, Stacked

HIDDEN = 32

AT_ONCE = {"cpu": 16_384, "cuda": 1_048_576}
"""Examples of all rows computed at once: on a CPU their activations should stay in the cache."""


class DigitsMLP(Classification):
    """1,797 grey images of 8 x 8 pixels (Alpaydin & Kaynak 1998), pixels scaled to 0 … 1.

    Weights are drawn as `nn.Linear` draws them. The splits are random over images, so the same
    writers stand in all of them.
    """

    name = "digits-mlp"
    description = (
        "1,797 real handwritten digits (8 x 8 pixels), a 64-32-10 perceptron with ReLU; "
        "1,079 train, 359 validation, 359 test images"
    )

    def module(self) -> nn.Module:
        """Return the 64-32-10 perceptron: 2,410 weights."""
        return nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))

    def examples(self, split: Split) -> Examples:
        """Return (images [n, 64] float32 in 0 … 1, digits [n] int64)."""
        return digits()[split]

    def stacked(self) -> Stacked:
        """Return the step with both passes written as batched products."""
        return _StackedMLP()


class _StackedMLP:
    """Forward and backward pass of all rows by products, twice as fast as through autograd.

    Activations lie as [rows, units, batch]: sums over classes then run along contiguous memory.
    Every row's numbers are those of products of its own, so that they do not depend on its
    neighbours; the first layer of rows that share their batch is one large product.
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
        inputs, targets = batch
        one_hot = functional.one_hot(targets, CLASSES).to(inputs.dtype).transpose(-1, -2)
        across = inputs.transpose(-1, -2).contiguous() if shared else inputs.transpose(-1, -2)
        losses = []
        for rows in _chunks(weights, inputs.shape[-2]):
            data = (inputs, across, one_hot)
            own = data if shared else tuple(each[rows] for each in data)
            held, found = (
                [value[rows] for value in tensors.values()] for tensors in (weights, gradients)
            )
            losses.append(_step(held, own, found))
        return torch.cat(losses)

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        inputs, targets = examples
        losses, accuracies = [], []
        for rows in _chunks(weights, len(inputs)):
            w1, b1, w2, b2 = (value[rows] for value in weights.values())
            hidden = with_shared(w1, inputs).add_(b1.unsqueeze(2)).clamp_min_(0)
            logits = torch.baddbmm(b2.unsqueeze(2), w2, hidden)
            # or a rule that makes all logits equal and huge would have a loss of 0 by rounding
            logits -= logits.amax(1, keepdim=True)
            picked = logits.gather(1, targets.expand(len(w1), 1, -1)).squeeze(1)
            # five times as fast as argmax, which gives the same index
            hits = (logits.max(1).indices == targets).to(logits.dtype)
            losses.append((logits.exp_().sum(1).log_() - picked).mean(1))
            accuracies.append(hits.mean(1))
        return {"loss": torch.cat(losses), "accuracy": torch.cat(accuracies)}


def _chunks(weights: Mapping[str, Tensor], batch: int) -> Iterator[slice]:
    """Yield the rows that are computed at once; nothing of a stack that lost all its rows."""
    first = next(iter(weights.values()))
    size = max(1, AT_ONCE.get(first.device.type, 16_384) // batch)
    for start in range(0, max(1, len(first)), size):
        yield slice(start, start + size)


def _step(weights: list[Tensor], data: Examples, gradients: list[Tensor]) -> Tensor:
    """Write the rows' gradients and return their losses.

    Of the data, (inputs, inputs transposed, one-hot targets transposed), either all rows share one
    batch or each has its own.
    """
    w1, b1, w2, b2 = weights
    g1, h1, g2, h2 = gradients
    inputs, across, one_hot = data
    shared, count = inputs.ndim == 2, inputs.shape[-2]
    raw = with_shared(w1, inputs) if shared else torch.bmm(w1, across)
    hidden = raw.add_(b1.unsqueeze(2)).clamp_min_(0)
    logits = torch.baddbmm(b2.unsqueeze(2), w2, hidden)
    chances = logits.softmax(1)
    # the largest chance is the inverse of softmax's denominator, so no other exponential
    total = logits.amax(1) - chances.amax(1).log_()
    losses = (total.sum(1) - (logits * one_hot).sum((1, 2))) / count
    error = chances.sub_(one_hot).div_(count)
    g2.copy_(torch.bmm(error, hidden.transpose(1, 2)))
    h2.copy_(error.sum(2))
    back = torch.bmm(w2.transpose(1, 2), error)
    torch.ops.aten.threshold_backward.grad_input(back, hidden, 0, grad_input=back)
    g1.copy_(with_shared(back, across) if shared else torch.bmm(back, inputs))
    h1.copy_(back.sum(2))
    return losses
