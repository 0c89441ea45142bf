import torch

from workers.batches import Batches, batch_order
from workers.memory import Peak


def test_an_epoch_sees_every_example_once() -> None:
    order = batch_order(seed=3, examples=20, batch_size=5, steps=8)
    assert order.shape == (8, 5)
    for epoch in (order[:4], order[4:]):
        assert sorted(epoch.flatten().tolist()) == list(range(20))
    assert order[:4].tolist() != order[4:].tolist()


def test_a_longer_run_begins_with_the_shorter_ones_batches() -> None:
    short = batch_order(seed=1, examples=7, batch_size=5, steps=3)
    long = batch_order(seed=1, examples=7, batch_size=5, steps=30)
    assert long[:3].tolist() == short.tolist()
    assert batch_order(seed=2, examples=7, batch_size=5, steps=3).tolist() != short.tolist()


def test_rows_of_one_seed_share_batches_and_others_get_their_own() -> None:
    examples = (torch.arange(40.0).view(20, 2), torch.arange(20))
    shared = Batches(examples, [4, 4, 4], 5, 6)
    mixed = Batches(examples, [9, 4, 4], 5, 6)
    assert shared.shared
    assert not mixed.shared
    for step in range(6):
        inputs, targets = shared.at(step)
        rows, labels = mixed.at(step)
        assert inputs.shape == (5, 2)
        assert rows.shape == (3, 5, 2)
        assert labels[1].tolist() == labels[2].tolist() == targets.tolist()
        assert rows[1].tolist() == inputs.tolist()
        assert labels[0].tolist() == batch_order(9, 20, 5, 6)[step].tolist()
    mixed.keep(torch.tensor([0, 2]))
    assert mixed.at(5)[1].tolist() == [
        batch_order(9, 20, 5, 6)[5].tolist(),
        batch_order(4, 20, 5, 6)[5].tolist(),
    ]


def test_a_task_without_data_has_empty_shared_batches() -> None:
    batches = Batches((), [1, 2], 5, 6)
    assert batches.shared
    assert batches.at(3) == ()
    batches.keep(torch.tensor([1]))


def test_a_long_runs_order_is_kept_in_small_numbers() -> None:
    for count, size in ((100, 2), (40_000, 4)):
        examples = (torch.arange(count),)
        with Peak() as peak:
            batches = Batches(examples, [3], 50, 40_000)
        assert peak.bytes < 2.5 * size * 50 * 40_000  # the order, and once more where it is made
        last = batch_order(3, count, 50, 40_000)[-1]
        assert batches.at(39_999)[0].tolist() == last.tolist()
