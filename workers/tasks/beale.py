"""`beale`: a flat valley between steep walls."""

from torch import Tensor

from workers.tasks.landscape import Plane


class Beale(Plane):
    """Beale's function (1958), from (1, 1.5), as tutorials on Adam draw it."""

    name = "beale"
    description = (
        "Beale's function of two numbers, start (1, 1.5) for seed 0 and near it for others, "
        "minimum 0 at (3, 0.5); no data: every loss is the function's value"
    )
    start = (1.0, 1.5)
    lowest = (3.0, 0.5)

    def value(self, point: Tensor) -> Tensor:
        """Return the function's value at `point` [2]."""
        x, y = point.unbind()
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2
