import math

import torch

from dsl.scalars import fitting


def test_what_a_dtype_cannot_hold_is_infinite_as_a_cast_makes_it() -> None:
    values = (1.0, 1e39, -1e39, math.nan, torch.tensor([1e39, 2.0], dtype=torch.float64))
    one, high, low, none, cast = fitting(values, torch.float32)
    assert (one, high, low) == (1.0, math.inf, -math.inf)
    assert math.isnan(none)
    assert cast.dtype == torch.float32
    assert cast.tolist() == [math.inf, 2.0]
    assert fitting(values[:3], torch.float64) == values[:3]
    assert fitting((1e5,), torch.float16) == (math.inf,)
