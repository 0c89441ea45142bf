"""`sparse-logistic`: logistic regression on features most of which are rare."""

from functools import cache

import torch

from workers.tasks.classification import Logistic
from workers.tasks.splits import Splits, divide, in_single
from workers.tasks.task import Examples, Split

FEATURES = 200
EXAMPLES, TRAIN, VALIDATION = 4096, 2048, 1024
"""Of all examples, and of the first two splits; the remaining 1,024 are the test split."""

COMMON, ACTIVE = 0.5, 4.0


@cache
def _load() -> Splits:
    import numpy as np

    # the legacy generator, whose stream NumPy never changes
    draw = np.random.RandomState(1)
    chance = np.minimum(COMMON, ACTIVE / np.arange(1, FEATURES + 1))
    features = (draw.random_sample((EXAMPLES, FEATURES)) < chance).astype(np.float64)
    truth = draw.standard_normal(FEATURES)
    logits = features @ truth - chance @ truth
    labels = (draw.random_sample(EXAMPLES) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    examples = (torch.from_numpy(features), torch.from_numpy(labels))
    return in_single(divide(examples, TRAIN, VALIDATION))


class SparseLogistic(Logistic):
    """Made data: feature k is present with a chance of 4/k, at most 1/2 (Zipf's law, as words).

    A rare feature's weight sees few gradients; rules that remember how often (AdaGrad) gain.
    """

    name = "sparse-logistic"
    description = (
        "logistic regression (convex) on 200 made binary features, present by Zipf's law, labels "
        "drawn from a true model; 2,048 train, 1,024 validation, 1,024 test examples"
    )
    features = FEATURES

    def examples(self, split: Split) -> Examples:
        """Return (features [n, 200] float32, 0 or 1; labels [n] float32)."""
        return _load()[split]
