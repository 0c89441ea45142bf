import pytest
import torch

from workers.tasks.registry import TASKS
from workers.tasks.splits import divide, standardise

SIZES = {
    "digits-mlp": (1079, 359, 359),
    "digits-conv": (1079, 359, 359),
    "breast-cancer": (341, 114, 114),
    "wine": (106, 36, 36),
    "diabetes": (266, 88, 88),
    "sparse-logistic": (2048, 1024, 1024),
}
HEADS = {
    "breast-cancer": [0.0, 1.0, 1.0, 1.0],
    "wine": [0, 2, 1, 0],
    "sparse-logistic": [0.0, 0.0, 1.0, 1.0],
}
"""The first labels of each train split."""


@pytest.mark.parametrize("name", sorted(SIZES))
def test_splits_have_their_sizes_and_share_no_example(name: str) -> None:
    splits = [TASKS[name].examples(split) for split in ("train", "validation", "test")]
    assert tuple(len(inputs) for inputs, _ in splits) == SIZES[name]
    rows = [tuple(row) for inputs, _ in splits for row in inputs.flatten(1).tolist()]
    assert len(set(rows)) >= 0.999 * len(rows)
    for inputs, targets in splits:
        assert inputs.dtype == torch.float32
        assert targets.dtype in (torch.float32, torch.int64)
        assert len(inputs) == len(targets)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_splits_never_change(name: str) -> None:
    assert TASKS[name].examples("train")[1][:4].tolist() == HEADS[name]


def test_every_class_stands_in_every_split() -> None:
    for name in ("breast-cancer", "wine"):
        for split in ("train", "validation", "test"):
            _, labels = TASKS[name].examples(split)
            counts = labels.to(torch.int64).bincount()
            assert counts.min() >= 0.2 * counts.sum() / len(counts)


def test_division_is_a_partition() -> None:
    splits = divide((torch.arange(20), torch.arange(20) * 10), 11, 5)
    assert [len(splits[name][0]) for name in ("train", "validation", "test")] == [11, 5, 4]
    together = torch.cat([splits[name][0] for name in ("train", "validation", "test")])
    assert sorted(together.tolist()) == list(range(20))
    for numbers, tens in splits.values():
        assert torch.equal(10 * numbers, tens)


def test_standardising_reads_the_train_split_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    values = 5 + 3 * torch.randn(60, 2, generator=generator)
    splits = divide((values, torch.arange(60)), 40, 10)
    scaled = standardise(splits, 0)
    assert scaled["train"][0].mean(0).abs().max() < 1e-5
    torch.testing.assert_close(scaled["train"][0].std(0, unbiased=False), torch.ones(2))
    mean, deviation = splits["train"][0].mean(0), splits["train"][0].std(0, unbiased=False)
    torch.testing.assert_close(scaled["test"][0], (splits["test"][0] - mean) / deviation)
    assert torch.equal(scaled["test"][1], splits["test"][1])
