"""Cutting data into splits that never change."""

import torch
from torch import Tensor

from workers.tasks.task import Examples, Split

Splits = dict[Split, Examples]


def divide(examples: Examples, train: int, validation: int) -> Splits:
    """Return random splits: `train` examples, `validation` examples, and the rest to test."""
    # NumPy keeps the stream of RandomState the same for ever, so the splits never change
    import numpy as np

    count, cut = len(examples[0]), train + validation
    order = torch.from_numpy(np.random.RandomState(0).permutation(count))
    shuffled = tuple(value[order] for value in examples)
    return {
        "train": tuple(value[:train] for value in shuffled),
        "validation": tuple(value[train:cut] for value in shuffled),
        "test": tuple(value[cut:] for value in shuffled),
    }


def standardise(splits: Splits, place: int) -> Splits:
    """Return splits whose tensor number `place` has mean 0 and variance 1 over the train split.

    The other splits are moved and scaled by the same numbers, so that nothing of them leaks.
    """
    known = splits["train"][place]
    mean, deviation = known.mean(0), known.std(0, unbiased=False)

    def moved(examples: Examples) -> Examples:
        scaled: Tensor = (examples[place] - mean) / deviation
        return (*examples[:place], scaled, *examples[place + 1 :])

    return {split: moved(examples) for split, examples in splits.items()}


def in_single(splits: Splits) -> Splits:
    """Return splits with their floating-point tensors in float32."""
    return {
        split: tuple(
            value.to(torch.float32) if value.is_floating_point() else value for value in examples
        )
        for split, examples in splits.items()
    }
