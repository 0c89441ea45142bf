"""The handwritten digits that come with scikit-learn, cut into splits."""

from functools import cache

import torch

from workers.tasks.splits import Splits, divide, in_single
from workers.tasks.tables import table

PIXELS, SIDE, CLASSES = 64, 8, 10
TRAIN, VALIDATION = 1079, 359
"""Sizes of the first two splits; the remaining 359 of the 1,797 images are the test split."""


@cache
def digits() -> Splits:
    """Return (images [n, 64] float32 in 0 … 1, digits [n] int64) (Alpaydin & Kaynak 1998).

    The splits are random over images, so the same writers stand in all of them.
    """
    images = table("digits.csv.gz")
    examples = (images[:, :PIXELS].div(16), images[:, PIXELS].to(torch.int64))
    return in_single(divide(examples, TRAIN, VALIDATION))
