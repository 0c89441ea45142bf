"""`breast-cancer`: logistic regression on raw measurements of very different scales."""

from functools import cache

from workers.tasks.classification import Logistic
from workers.tasks.splits import Splits, divide, in_single
from workers.tasks.tables import table
from workers.tasks.task import Examples, Split

FEATURES = 30
TRAIN, VALIDATION = 341, 114
"""Sizes of the first two splits; the remaining 114 of the 569 patients are the test split."""


@cache
def _load() -> Splits:
    tumours = table("breast_cancer.csv", header=1)
    return in_single(divide((tumours[:, :FEATURES], tumours[:, FEATURES]), TRAIN, VALIDATION))


class BreastCancer(Logistic):
    """569 tumours described by 30 measurements of cell nuclei (Street et al. 1993); 1 is benign.

    The measurements are not scaled: their means lie between 0.004 and 881, so that one learning
    rate for all of them has to be tiny and a rule that scales each weight's step gains much.
    """

    name = "breast-cancer"
    description = (
        "569 real tumours, 30 raw features whose scales differ a hundred-thousandfold, "
        "logistic regression (convex); 341 train, 114 validation, 114 test patients"
    )
    features = FEATURES

    def examples(self, split: Split) -> Examples:
        """Return (features [n, 30] float32, labels [n] float32)."""
        return _load()[split]
