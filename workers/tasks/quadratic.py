"""`quadratic`: an ill-conditioned bowl whose axes are not those of the weights."""

from functools import cache

import torch
from torch import Tensor, nn

from workers.tasks.landscape import Landscape, Point

SIZE, CONDITION = 40, 1000.0


@cache
def _axes() -> Tensor:
    """Return a random rotation, [40, 40] float64."""
    import numpy as np

    # the legacy generator, whose stream NumPy never changes
    drawn = np.random.RandomState(3).standard_normal((SIZE, SIZE))
    rotation, upper = np.linalg.qr(drawn)
    # the sign of each column is the library's choice; fix it
    return torch.from_numpy(rotation * np.sign(np.diag(upper)))


def curvatures() -> Tensor:
    """Return the Hessian's eigenvalues, from 1 down to 1/1000 evenly in their logarithm."""
    return CONDITION ** -torch.linspace(0, 1, SIZE, dtype=torch.float64)


def hessian() -> Tensor:
    """Return the matrix H of f(w) = w·Hw/2, [40, 40] float64."""
    return _axes().T @ torch.diag(curvatures()) @ _axes()


class Quadratic(Landscape):
    """w·Hw/2 in 40 dimensions, condition number 1,000, rotated; seeds draw the start, N(0, 1).

    Being rotated, it gives nothing to rules that scale each weight's step by itself.
    """

    name = "quadratic"
    description = (
        "a rotated quadratic bowl of 40 dimensions, condition number 1,000, random start, "
        "minimum 0 at 0; no data: every loss is the function's value"
    )

    def module(self) -> nn.Module:
        """Return a point drawn from N(0, 1)."""
        return Point(torch.randn(SIZE))

    def minimum(self) -> Tensor:
        """Return the origin, [40]."""
        return torch.zeros(SIZE)

    def value(self, point: Tensor) -> Tensor:
        """Return the function's value at `point` [40]."""
        turned = _axes().to(point.device, point.dtype) @ point
        return (curvatures().to(point.device, point.dtype) * turned.square()).sum() / 2
