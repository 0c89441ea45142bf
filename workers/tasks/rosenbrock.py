"""`rosenbrock`: a long bent valley."""

from torch import Tensor

from workers.tasks.landscape import Plane


class Rosenbrock(Plane):
    """Rosenbrock's function (1960), from (-1.2, 1)."""

    name = "rosenbrock"
    description = (
        "Rosenbrock's function of two numbers, start (-1.2, 1) for seed 0 and near it for others, "
        "minimum 0 at (1, 1); no data: every loss is the function's value"
    )
    start = (-1.2, 1.0)
    lowest = (1.0, 1.0)

    def value(self, point: Tensor) -> Tensor:
        """Return the function's value at `point` [2]."""
        x, y = point.unbind()
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2
