import gc

import torch
from torch import Tensor

from workers.rows import AHEAD, Column


def test_a_column_is_its_steps_in_any_order_and_after_rows_went() -> None:
    table = torch.rand(3 * AHEAD + 5, 4)
    column, kept = Column(table), Column(table).keep(torch.tensor([0, 2]))
    for step in (0, 7, AHEAD - 1, AHEAD, 3 * AHEAD + 4, 1, 2 * AHEAD):
        assert torch.equal(column.at(step), table[step].unsqueeze(1))
        assert torch.equal(kept.at(step), table[step, [0, 2]].unsqueeze(1))
    constant = Column(table[:1])
    assert torch.equal(constant.at(0), constant.at(2 * AHEAD))


def test_a_long_run_has_few_columns_at_a_time() -> None:
    def tensors() -> int:
        return sum(type(each) is Tensor for each in gc.get_objects())

    before = tensors()
    column = Column(torch.zeros(50 * AHEAD, 2))
    column.at(7 * AHEAD)
    assert tensors() - before < 3 * AHEAD
