"""`random-labels`: how fast a rule lets a network memorise what cannot be learnt."""

from functools import cache

import torch
from torch import nn

from workers.tasks.classification import Classification
from workers.tasks.digits import CLASSES, PIXELS, digits
from workers.tasks.splits import Splits
from workers.tasks.task import Examples, Split

HIDDEN, IMAGES = 64, 256


@cache
def _load() -> Splits:
    import numpy as np

    images, targets = (value[:IMAGES] for value in digits()["train"])
    # the legacy generator, whose stream NumPy never changes
    order = torch.from_numpy(np.random.RandomState(2).permutation(IMAGES))
    learnt = (images, targets[order])
    return {"train": learnt, "validation": learnt, "test": digits()["test"]}


class RandomLabels(Classification):
    """256 digits whose labels have been permuted (Zhang et al. 2017, arXiv 1611.03530).

    There is nothing to generalise, so `validation_*` are measured on the training images: the
    question is how fast a rule fits. The test split keeps its true labels, so that a sound run
    stays near one hit in ten there.
    """

    name = "random-labels"
    description = (
        "256 real digits with permuted labels, a 64-64-10 perceptron with ReLU: memorisation, "
        "measured on the training images; the 359 test images keep their true labels (chance)"
    )

    def module(self) -> nn.Module:
        """Return the 64-64-10 perceptron: 4,810 weights."""
        return nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))

    def examples(self, split: Split) -> Examples:
        """Return (images [n, 64] float32 in 0 … 1, labels [n] int64)."""
        return _load()[split]
