"""`digits-conv`: real handwritten digits and a small convolutional network with BatchNorm."""

from torch import nn

from workers.tasks.classification import Classification
from workers.tasks.digits import CLASSES, SIDE, digits
from workers.tasks.task import Examples, Split

NARROW, WIDE = 8, 16
"""Channels of the two convolutions."""


class DigitsConv(Classification):
    """The splits of `digits-mlp`. Running statistics of BatchNorm belong to each candidate."""

    name = "digits-conv"
    description = (
        "1,797 real handwritten digits (8 x 8 pixels), two 3 x 3 convolutions of 8 and 16 "
        "channels with BatchNorm, ReLU and max-pooling, one linear layer; "
        "1,079 train, 359 validation, 359 test images"
    )

    def module(self) -> nn.Module:
        """Return the network: 1,922 weights."""
        # BatchNorm takes a convolution's bias out again, so it has none
        return nn.Sequential(
            nn.Conv2d(1, NARROW, 3, padding=1, bias=False),
            nn.BatchNorm2d(NARROW),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(NARROW, WIDE, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDE),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(WIDE * (SIDE // 4) ** 2, CLASSES),
        )

    def examples(self, split: Split) -> Examples:
        """Return (images [n, 1, 8, 8] float32 in 0 … 1, digits [n] int64)."""
        images, targets = digits()[split]
        return images.view(-1, 1, SIDE, SIDE), targets
