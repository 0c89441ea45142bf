"""`diabetes`: linear least squares on correlated features."""

from functools import cache

from torch import Tensor, nn
from torch.nn import functional

from workers.tasks.linear import Linear
from workers.tasks.splits import Splits, divide, in_single, standardise
from workers.tasks.tables import table
from workers.tasks.task import Examples, Model, Split, Task

FEATURES = 10
TRAIN, VALIDATION = 266, 88
"""Sizes of the first two splits; the remaining 88 of the 442 patients are the test split."""


@cache
def _load() -> Splits:
    features = table("diabetes_data_raw.csv.gz", delimiter=None)
    examples = (features, table("diabetes_target.csv.gz"))
    return in_single(standardise(standardise(divide(examples, TRAIN, VALIDATION), 0), 1))


class Diabetes(Task):
    """442 patients, ten measurements, the disease a year later (Efron et al. 2004).

    Features and target are standardised by the train split; the features are correlated, so that
    the loss is a long narrow valley. The optimum is known: ordinary least squares.
    """

    name = "diabetes"
    description = (
        "442 real patients, linear regression of the disease's progression on ten standardised "
        "features (convex), loss in variances; 266 train, 88 validation, 88 test patients"
    )
    metrics = ("train_loss", "validation_loss", "validation_r2")

    def module(self) -> nn.Module:
        """Return a linear model with a bias, drawn as `nn.Linear` draws it."""
        return Linear(FEATURES)

    def examples(self, split: Split) -> Examples:
        """Return (features [n, 10] float32, progression [n] float32)."""
        return _load()[split]

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the mean squared error, in variances of the target over the train split."""
        features, targets = batch
        return functional.mse_loss(model(features), targets)

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return `loss` and `r2`: 1 less the share of the split's own variance that is left."""
        loss, targets = self.loss(model, examples), examples[1]
        return {"loss": loss, "r2": 1 - loss / targets.var(unbiased=False)}
