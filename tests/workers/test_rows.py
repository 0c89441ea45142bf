import gc

import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.outcome import TrialState
from workers.population import train_population
from workers.protocol import Protocol
from workers.rows import AHEAD, Column
from workers.tasks.registry import TASKS


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


def test_a_number_too_large_for_a_rows_dtype_is_infinite_and_ends_nobody_elses_training() -> None:
    large = "(1000 * (t + 1)) ^ 13"
    rules = (f"min(m, {large})", "m", f"g * {large}")
    candidates = [Candidate(rule=rule, lr=0.1) for rule in rules]
    alike, plain, _ = train_population(TASKS["wine"], candidates, Protocol(steps=5))
    assert alike.state is TrialState.COMPLETE
    assert alike.metrics == plain.metrics
    assert alike.obstacle is None
