"""What tasks with classes have in common: cross entropy, and the share of hits."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.tasks.linear import Linear
from workers.tasks.task import Examples, Model, Task


class Classification(Task):
    """Examples are (inputs, classes int64); the model returns one logit for each class."""

    metrics = ("train_loss", "validation_loss", "validation_accuracy")

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the mean cross entropy in nats."""
        inputs, targets = batch
        return functional.cross_entropy(model(inputs), targets)

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return `loss` (nats) and `accuracy` (0 … 1)."""
        inputs, targets = examples
        outputs = model(inputs)
        hits = (outputs.argmax(-1) == targets).to(outputs.dtype)
        return {"loss": functional.cross_entropy(outputs, targets), "accuracy": hits.mean()}


class Logistic(Task):
    """Logistic regression: examples are (features, labels 0 or 1 as float32); convex.

    The weights start at zero, where the loss is log 2; a seed changes the batches alone.
    """

    metrics = ("train_loss", "validation_loss", "validation_accuracy")
    features: int

    def module(self) -> nn.Module:
        """Return a linear model with a bias, all zero, that gives the logit of label 1."""
        model = Linear(self.features)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return model

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the mean negative log likelihood in nats."""
        features, labels = batch
        return functional.binary_cross_entropy_with_logits(model(features), labels)

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return `loss` (nats) and `accuracy` (0 … 1)."""
        features, labels = examples
        logits = model(features)
        hits = ((logits > 0).to(labels.dtype) == labels).to(logits.dtype)
        loss = functional.binary_cross_entropy_with_logits(logits, labels)
        return {"loss": loss, "accuracy": hits.mean()}
