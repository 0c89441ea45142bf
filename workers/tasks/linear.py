"""A linear model of one output."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """w·x + b as a sum of products, for inputs [batch, features] an output [batch].

    Not `nn.Linear`: a matrix product with a single column is rounded by where its numbers lie in
    memory, so that a row of a population would have other bits in another place.
    """

    def __init__(self, features: int) -> None:
        """Draw weights and bias as `nn.Linear` does."""
        super().__init__()
        drawn = nn.Linear(features, 1)
        self.weight = nn.Parameter(drawn.weight.detach().squeeze(0))
        self.bias = nn.Parameter(drawn.bias.detach())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, [batch]."""
        return torch.sum(inputs * self.weight, -1) + self.bias
