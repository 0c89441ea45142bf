"""`wine`: three cultivars told apart by a small perceptron, from few examples."""

from functools import cache

import torch
from torch import nn

from workers.tasks.classification import Classification
from workers.tasks.splits import Splits, divide, in_single, standardise
from workers.tasks.tables import table
from workers.tasks.task import Examples, Split

FEATURES, HIDDEN, CLASSES = 13, 16, 3
TRAIN, VALIDATION = 106, 36
"""Sizes of the first two splits; the remaining 36 of the 178 wines are the test split."""


@cache
def _load() -> Splits:
    wines = table("wine_data.csv", header=1)
    examples = (wines[:, :FEATURES], wines[:, FEATURES].to(torch.int64))
    return in_single(standardise(divide(examples, TRAIN, VALIDATION), 0))


class Wine(Classification):
    """178 wines of three cultivars, 13 chemical measurements (Forina et al. 1988), standardised.

    There are few examples and many weights, so a rule may overfit.
    """

    name = "wine"
    description = (
        "178 real wines of three cultivars, 13 standardised chemical features, a 13-16-3 "
        "perceptron with tanh; 106 train, 36 validation, 36 test wines"
    )

    def module(self) -> nn.Module:
        """Return the 13-16-3 perceptron: 275 weights."""
        return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES))

    def examples(self, split: Split) -> Examples:
        """Return (features [n, 13] float32, cultivars [n] int64)."""
        return _load()[split]
