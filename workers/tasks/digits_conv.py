"""`digits-conv`: real handwritten digits and a small convolutional network with BatchNorm."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.tasks.classification import Classification
from workers.tasks.digits import CLASSES, SIDE, digits
from workers.tasks.task import Examples, Split, Stacked
from workers.workspace import Workspace

NARROW, WIDE = 8, 16
"""Channels of the two convolutions."""

AT_ONCE = {"cpu": 1_024, "cuda": 65_536}
"""Examples of all rows computed at once: on a CPU their activations should stay in the cache."""

SUMMED = 256
"""Examples' pixels whose covariance is added up at once: float32 rounds sums of thousands of terms
ten times as coarsely, and a pixel whose ReLU or maximum then falls out otherwise changes a run."""

EPS, MOMENTUM = 1e-5, 0.1
"""BatchNorm's defaults."""


class DigitsConv(Classification):
    """The splits of `digits-mlp`. Running statistics of BatchNorm belong to each candidate."""

    name = "digits-conv"
    description = (
        "1,797 real handwritten digits (8 x 8 pixels), two 3 x 3 convolutions of 8 and 16 "
        "channels with BatchNorm, ReLU and max-pooling, one linear layer; "
        "1,079 train, 359 validation, 359 test images"
    )

    def module(self) -> nn.Module:
        """Return the network: 1,922 weights."""
        # BatchNorm takes a convolution's bias out again, so it has none
        return nn.Sequential(
            nn.Conv2d(1, NARROW, 3, padding=1, bias=False),
            nn.BatchNorm2d(NARROW, EPS, MOMENTUM),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(NARROW, WIDE, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDE, EPS, MOMENTUM),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(WIDE * (SIDE // 4) ** 2, CLASSES),
        )

    def examples(self, split: Split) -> Examples:
        """Return (images [n, 1, 8, 8] float32 in 0 … 1, digits [n] int64)."""
        images, targets = digits()[split]
        return images.view(-1, 1, SIDE, SIDE), targets

    def stacked(self) -> Stacked:
        """Return the step with both passes written as batched products."""
        return _StackedConv()


def _patches(planes: Tensor, space: Workspace) -> Tensor:
    """Return the 3 x 3 neighbourhoods, [rows, 9·channels, pixels·batch].

    Planes are [rows, channels, side, side, batch]: with the batch innermost every copy moves
    whole runs of numbers. The images' pixels come out quarter by quarter (see `_quarters`).
    """
    rows, channels, side, _, batch = planes.shape
    padded = space.take("padded", planes, (rows, channels, side + 2, side + 2, batch)).zero_()
    padded[:, :, 1:-1, 1:-1] = planes
    row, channel, down, right, one = padded.stride()
    shape: tuple[int, ...] = (side, side)
    along: tuple[int, ...] = (down, right)
    if side == SIDE:
        shape, along = (2, 2, side // 2, side // 2), (down, right, 2 * down, 2 * right)
    window = padded.as_strided(
        (rows, channels, 3, 3, *shape, batch), (row, channel, down, right, *along, one)
    )
    found = space.take(f"patches of {side}", planes, window.shape).copy_(window)
    return found.view(rows, 9 * channels, side * side * batch)


def _unpatched(patches: Tensor, channels: int, side: int, space: Workspace) -> Tensor:
    """Return the planes' gradient from their patches'."""
    nine = patches.view(len(patches), channels, 3, 3, side, side, -1)
    shape = (len(patches), channels, side + 2, side + 2, nine.shape[-1])
    padded = space.take("padded", patches, shape).zero_()
    for y in range(3):
        for x in range(3):
            padded[:, :, y : y + side, x : x + side] += nine[:, :, y, x]
    return padded[:, :, 1:-1, 1:-1]


def _quarters(values: Tensor, side: int) -> tuple[Tensor, ...]:
    """Return the four pixels of every 2 x 2 window, in the order in which pooling sees them.

    Over the images each quarter is one run of memory, which halves the cost of pooling. The second
    layer's pixels lie in their natural order, so that its patches are added up in longer runs.
    """
    if side == SIDE:
        return values.view(*values.shape[:2], 4, side // 2, side // 2, -1).unbind(2)
    planes = values.view(*values.shape[:2], side // 2, 2, side // 2, 2, -1)
    return tuple(planes[:, :, :, y, :, x] for y in range(2) for x in range(2))


def _pooled(values: Tensor, side: int) -> Tensor:
    """Return the positive part of the maximum of every 2 x 2 window."""
    a, b, c, d = _quarters(values, side)
    return torch.maximum(torch.maximum(a, b), torch.maximum(c, d)).clamp_min_(0)


def _unpooled(
    values: Tensor, pooled: Tensor, gradient: Tensor, side: int, space: Workspace
) -> Tensor:
    """Return the gradient where each window's maximum was, at the first of equals."""
    spread = space.take(f"spread over {side}", values, values.shape)
    a, b, c, d = _quarters(values, side)
    upper, lower = torch.maximum(a, b), torch.maximum(c, d)
    # passes a gradient on where a difference is positive, faster than comparisons and masks do
    passed = torch.ops.aten.threshold_backward
    whole = passed(gradient, pooled, 0)
    below = passed(whole, lower - upper, 0)
    above = whole.sub_(below)
    to_a, to_b, to_c, to_d = _quarters(spread, side)
    passed.grad_input(above, b - a, 0, grad_input=to_b)
    torch.sub(above, to_b, out=to_a)
    passed.grad_input(below, d - c, 0, grad_input=to_d)
    torch.sub(below, to_d, out=to_c)
    return spread


class _Normal:
    """One BatchNorm's numbers for some rows, each [rows, channels, 1]."""

    def __init__(
        self, name: str, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> None:
        self._name, self._buffers = name, buffers
        self.gain = weights[f"{name}.weight"].unsqueeze(2)
        self.shift = weights[f"{name}.bias"].unsqueeze(2)

    def train(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Take the batch's statistics, and move the running ones."""
        unbiased = variance.squeeze(2) * (count / (count - 1))
        self._buffers[f"{self._name}.running_mean"].lerp_(mean.squeeze(2), MOMENTUM)
        self._buffers[f"{self._name}.running_var"].lerp_(unbiased, MOMENTUM)
        self._buffers[f"{self._name}.num_batches_tracked"].add_(1)
        self.inverse = (variance + EPS).rsqrt()
        self.scale = self.gain * self.inverse

    def judge(self) -> tuple[Tensor, Tensor]:
        """Return factor and offset by the running statistics."""
        mean = self._buffers[f"{self._name}.running_mean"].unsqueeze(2)
        variance = self._buffers[f"{self._name}.running_var"].unsqueeze(2)
        scale = self.gain * (variance + EPS).rsqrt()
        return scale, self.shift - mean * scale


class _StackedConv:
    """Convolutions as products with patches, BatchNorm with as few passes as it allows.

    Of the first layer all statistics follow from the patches' own covariance, which rows with one
    batch share. `torch.func` takes as long as an ordinary loop here: its grouped convolutions and
    BatchNorm go through memory many times. Half of the time by hand are products, of matrices so
    thin (8 or 16 channels) that they run at two thirds of the matrix rate; the other half are
    passes over patches, pooling and BatchNorm, whose bytes a stack does not save. oneDNN's grouped
    convolution would be faster, but a row's bits then depend on how many rows there are.
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
        images, targets = batch
        seen = _seen(images.unsqueeze(0) if shared else images, self._space)
        targets = targets.unsqueeze(0) if shared else targets
        one_hot = functional.one_hot(targets, CLASSES).to(images.dtype).transpose(1, 2)
        losses = []
        for rows in _chunks(weights, one_hot.shape[2]):
            held, own, found = (
                {name: value[rows] for name, value in tensors.items()}
                for tensors in (weights, buffers, gradients)
            )
            data = (*seen, one_hot) if shared else tuple(each[rows] for each in (*seen, one_hot))
            losses.append(_step(held, own, data, found, self._space))
        return torch.cat(losses)

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        images, targets = examples
        space = Workspace()
        patches = _patches(_planes(images.unsqueeze(0)), space)
        logits = []
        for rows in _chunks(weights, len(images)):
            held = {name: value[rows] for name, value in weights.items()}
            own = {name: value[rows] for name, value in buffers.items()}
            logits.append(_logits(held, own, patches, space))
        outputs = torch.cat(logits)
        picked = outputs.gather(1, targets.expand(len(outputs), 1, -1)).squeeze(1)
        hits = (outputs.argmax(1) == targets).to(outputs.dtype)
        return {"loss": (outputs.logsumexp(1) - picked).mean(1), "accuracy": hits.mean(1)}


def _chunks(weights: Mapping[str, Tensor], batch: int) -> Iterator[slice]:
    """Yield the rows that are computed at once."""
    first = weights["0.weight"]
    size = max(1, AT_ONCE.get(first.device.type, 1_024) // batch)
    for start in range(0, len(first), size):
        yield slice(start, start + size)


def _planes(images: Tensor) -> Tensor:
    """Return images [rows, batch, 1, side, side] as [rows, 1, side, side, batch]."""
    return images.permute(0, 2, 3, 4, 1)


def _seen(images: Tensor, space: Workspace) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images' centred patches, their mean and their covariance."""
    patches = _patches(_planes(images), space)
    mean = patches.mean(2, keepdim=True)
    patches -= mean
    covariance = patches.new_zeros(len(patches), patches.shape[1], patches.shape[1])
    for part in torch.split(patches, SUMMED, 2):
        covariance += torch.bmm(part, part.transpose(1, 2))
    return patches, mean, covariance / patches.shape[2]


def _step(
    weights: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    data: tuple[Tensor, ...],
    gradients: Mapping[str, Tensor],
    space: Workspace,
) -> Tensor:
    rows = len(weights["0.weight"])
    patches, patch_mean, covariance, one_hot = (each.expand(rows, -1, -1) for each in data)
    one, two = _Normal("1", weights, buffers), _Normal("5", weights, buffers)
    w1, w2, w3 = weights["0.weight"].flatten(2), weights["4.weight"].flatten(2), weights["9.weight"]

    varied = torch.bmm(w1, covariance)
    variance = (varied * w1).sum(2, keepdim=True)
    one.train(torch.bmm(w1, patch_mean), variance, patches.shape[2])
    y1 = space.take("y1", w1, (rows, NARROW, patches.shape[2]))
    torch.baddbmm(one.shift, w1 * one.scale, patches, out=y1)
    h1 = _pooled(y1, SIDE)
    inner = _patches(h1, space)
    x2 = torch.bmm(w2, inner)
    mean = x2.mean(2, keepdim=True)
    x2 -= mean
    two.train(mean, x2.square().mean(2, keepdim=True), x2.shape[2])
    y2 = torch.mul(x2, two.scale).add_(two.shift)
    h2 = _pooled(y2, SIDE // 2)
    features = h2.view(rows, w3.shape[2], -1)
    losses, error = _entropy(torch.baddbmm(weights["9.bias"].unsqueeze(2), w3, features), one_hot)

    gradients["9.weight"].copy_(torch.bmm(error, features.transpose(1, 2)))
    gradients["9.bias"].copy_(error.sum(2))
    back = torch.bmm(w3.transpose(1, 2), error).view_as(h2)
    d2 = _unpooled(y2, h2, back, SIDE // 2, space)
    total, along = d2.sum(2, keepdim=True), (d2 * x2).sum(2, keepdim=True)
    gradients["5.bias"].copy_(total.squeeze(2))
    gradients["5.weight"].copy_((along * two.inverse).squeeze(2))
    count = x2.shape[2]
    d2.mul_(two.scale).sub_(two.scale * total / count)
    d2.addcmul_(x2, two.scale * two.inverse.square() * along / -count)
    gradients["4.weight"].copy_(torch.bmm(d2, inner.transpose(1, 2)).view_as(weights["4.weight"]))
    spread = torch.bmm(w2.transpose(1, 2), d2, out=space.take("back", inner, inner.shape))
    inward = _unpatched(spread, NARROW, SIDE // 2, space)
    d1 = _unpooled(y1, h1, inward, SIDE, space)
    # what BatchNorm's own backward pass subtracts, the covariance already knows
    towards = torch.bmm(d1, patches.transpose(1, 2))
    along = (towards * w1).sum(2, keepdim=True)
    gradients["1.bias"].copy_(d1.sum(2))
    gradients["1.weight"].copy_((along * one.inverse).squeeze(2))
    first = one.scale * (towards - varied * one.inverse.square() * along)
    gradients["0.weight"].copy_(first.view_as(weights["0.weight"]))
    return losses


def _entropy(logits: Tensor, one_hot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross entropies [rows] and their gradients by the logits."""
    count = logits.shape[2]
    logits -= logits.amax(1, keepdim=True)
    picked = (logits * one_hot).sum((1, 2))
    exponentials = logits.exp_()
    total = exponentials.sum(1, keepdim=True)
    losses = (total.log().sum((1, 2)) - picked) / count
    return losses, exponentials.div_(total).sub_(one_hot).div_(count)


def _logits(
    weights: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    patches: Tensor,
    space: Workspace,
) -> Tensor:
    """Return what the network in evaluation mode says, [rows, classes, batch]."""
    rows = len(weights["0.weight"])
    for conv, name, side in (("0", "1", SIDE), ("4", "5", SIDE // 2)):
        scale, shift = _Normal(name, weights, buffers).judge()
        kernel = weights[f"{conv}.weight"].flatten(2) * scale
        values = space.take("values", kernel, (rows, kernel.shape[1], patches.shape[2]))
        torch.baddbmm(shift, kernel, patches.expand(rows, -1, -1), out=values)
        pooled = _pooled(values, side)
        patches = _patches(pooled, space) if conv == "0" else pooled.flatten(1, 3)
    return torch.baddbmm(weights["9.bias"].unsqueeze(2), weights["9.weight"], patches)
