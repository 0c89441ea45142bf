import pytest
import torch

from dsl.candidate import Candidate
from workers.footprint import CACHED, Footprint, footprint, many_rows
from workers.ground import Ground
from workers.memory import Peak
from workers.protocol import Protocol
from workers.stack import Stack
from workers.tasks.registry import TASKS


@pytest.mark.parametrize("name", ["digits-mlp", "breast-cancer", "rosenbrock"])
@pytest.mark.parametrize("rule", ["g", "adam", "m * norm(w) / norm(m) + drop(sqrt(y), 0.5)"])
def test_rows_take_at_most_their_footprint_and_not_far_less(name: str, rule: str) -> None:
    ground = Ground(TASKS[name], Protocol(steps=5), "cpu", torch.float32)
    candidates = [Candidate(rule=rule, lr=1e-3, seed=seed) for seed in range(40)]
    size = footprint(ground, candidates)
    peaks = []
    for rows in (20, 40):
        with Peak() as peak, torch.no_grad():
            stack = Stack(ground, range(rows), candidates[:rows])
            stack.advance(2)
            stack.measure("validation")
        peaks.append(peak.bytes)
    one = (peaks[1] - peaks[0]) / 20
    assert size.kept < size.row
    assert one <= size.row <= 3 * one


def test_a_precision_of_eight_bytes_takes_twice_as_much() -> None:
    sizes = [
        footprint(
            Ground(TASKS["digits-mlp"], Protocol(steps=1, batch_size=256), "cpu", dtype),
            [Candidate(rule="adam", lr=0.1)],
        ).row
        for dtype in (torch.float32, torch.float64)
    ]
    assert 1.7 < sizes[1] / sizes[0] < 2


def test_what_fits_is_what_the_budget_holds() -> None:
    size = Footprint(row=100, kept=40, budget=1000)
    assert size.rows() == 10
    assert size.holds(10)
    assert not size.holds(11)
    assert Footprint(row=100, kept=40, budget=10).rows() == 1


def test_many_rows_are_those_whose_batches_leave_the_cache() -> None:
    def rows(name: str, batch_size: int) -> int | None:
        protocol = Protocol(steps=1, batch_size=batch_size)
        return many_rows(Ground(TASKS[name], protocol, "cpu", torch.float32))

    assert rows("digits-mlp", 64) == CACHED // (65 * 64)
    assert rows("diabetes", 64) == CACHED // (11 * 64)
    assert rows("digits-mlp", 65_536) == 1
    assert rows("rosenbrock", 64) is None, "it has no batches"
