"""`noisy-quadratic`: a bowl seen through noise, the plainest model of stochastic training."""

from functools import cache

import torch
from torch import Tensor, nn

from workers.tasks.landscape import Landscape, Point
from workers.tasks.task import Examples, Model, Split

SIZE, EXAMPLES = 100, 16_384


def curvatures() -> Tensor:
    """Return the Hessian's diagonal h_k = 1/k, [100] float64."""
    return 1 / torch.arange(1, SIZE + 1, dtype=torch.float64)


@cache
def _place() -> tuple[Tensor, Tensor]:
    """Return the centres [16384, 100] and their mean [100], float32."""
    import numpy as np

    # the legacy generator, whose stream NumPy never changes
    draw = np.random.RandomState(4)
    spread = torch.from_numpy(draw.standard_normal((EXAMPLES, SIZE)))
    middle = torch.from_numpy(draw.standard_normal(SIZE)).to(torch.float32)
    # exactly centred: the mean of all examples' bowls is then the bowl round the middle
    spread = (spread - spread.mean(0)) / curvatures().sqrt()
    return middle + spread.to(torch.float32), middle


class NoisyQuadratic(Landscape):
    """The noisy quadratic model (Zhang et al. 2019, arXiv 1907.04164): h_k = 1/k, noise diag(h).

    Each of 16,384 training examples is a bowl Σ h_k (w_k - c_k)²/2 with a centre c of its own,
    of variance 1/h_k round the common middle, so that a batch's gradient has noise of variance
    h/batch. Judged is the bowl round the middle; the training loss keeps a floor of 50, the
    centres' spread, that nobody can lower. Seeds draw the start, N(0, 1), and the batches.
    """

    name = "noisy-quadratic"
    description = (
        "a quadratic bowl of 100 dimensions, condition number 100, gradients with noise that "
        "batches average (16,384 examples), random start; validation_loss is without the noise, "
        "minimum 0 at a fixed random point"
    )

    def module(self) -> nn.Module:
        """Return a point drawn from N(0, 1)."""
        return Point(torch.randn(SIZE))

    def minimum(self) -> Tensor:
        """Return the centres' mean, [100]."""
        return _place()[1]

    def value(self, point: Tensor) -> Tensor:
        """Return the value without noise at `point` [100]."""
        away = point - self.minimum().to(point.device, point.dtype)
        return (curvatures().to(point.device, point.dtype) * away.square()).sum() / 2

    def examples(self, split: Split) -> Examples:
        """Return (centres [16384, 100] float32,) to train on; the other splits have no noise."""
        return (_place()[0],) if split == "train" else ()

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the mean over the batch of the bowls round its centres."""
        point, (centres,) = model(), batch
        h = curvatures().to(point.device, point.dtype)
        # multiplied out, so that rows of one seed share all that depends on the batch alone
        mean = centres.mean(0)
        spread = (h * (centres - mean).square()).sum(-1).mean()
        return ((h * (point - mean).square()).sum() + spread) / 2
