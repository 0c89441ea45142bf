"""`quadratic`: an ill-conditioned bowl whose axes are not those of the weights."""

from functools import cache

import torch
from torch import Tensor, nn

from workers.tasks.landscape import Landscape, Point

SIZE, CONDITION = 40, 1000.0


@cache
def _place() -> tuple[Tensor, Tensor]:
    """Return a random rotation [40, 40] and the minimum [40], float64."""
    import numpy as np

    # the legacy generator, whose stream NumPy never changes
    draw = np.random.RandomState(3)
    rotation, upper = np.linalg.qr(draw.standard_normal((SIZE, SIZE)))
    # the sign of each column is the library's choice; fix it
    rotation = rotation * np.sign(np.diag(upper))
    return torch.from_numpy(rotation), torch.from_numpy(draw.standard_normal(SIZE))


def curvatures() -> Tensor:
    """Return the Hessian's eigenvalues, from 1 down to 1/1000 evenly in their logarithm."""
    return CONDITION ** -torch.linspace(0, 1, SIZE, dtype=torch.float64)


def hessian() -> Tensor:
    """Return the matrix H of f(w) = (w - c)·H(w - c)/2, [40, 40] float64."""
    axes, _ = _place()
    return axes.T @ torch.diag(curvatures()) @ axes


class Quadratic(Landscape):
    """A bowl in 40 dimensions, condition number 1,000, rotated; seeds draw the start, N(0, 1).

    Being rotated, it gives nothing to rules that scale each weight's step by itself. Its minimum
    is not the origin, where weight decay alone would lead.
    """

    name = "quadratic"
    description = (
        "a rotated quadratic bowl of 40 dimensions, condition number 1,000, random start, "
        "minimum 0 at a fixed random point; no data: every loss is the function's value"
    )

    def module(self) -> nn.Module:
        """Return a point drawn from N(0, 1)."""
        return Point(torch.randn(SIZE))

    def minimum(self) -> Tensor:
        """Return the fixed point drawn from N(0, 1), [40] float64."""
        return _place()[1]

    def value(self, point: Tensor) -> Tensor:
        """Return the function's value at `point` [40]."""
        axes, centre = (value.to(point.device, point.dtype) for value in _place())
        # not as a matrix product, in which a row's bits would depend on how many rows there are
        turned = (axes * (point - centre)).sum(1)
        return (curvatures().to(point.device, point.dtype) * turned.square()).sum() / 2
