import pytest
import torch

from dsl.randomness import Draw, normal, uniform
from workers import draws as module
from workers.draws import Chances, Draws, Memo, Place


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_rows_get_the_draws_of_their_own_seed(kind: str) -> None:
    one = {"uniform": uniform, "normal": normal}[kind]
    seeds, like = [5, 2, 5], torch.zeros(3, 64)
    draws = Draws(seeds, like)

    def drawn(step: int, index: int) -> torch.Tensor:
        numbers = getattr(draws, kind)(Place(draws.of_row, step), index, like)
        return numbers.numbers if isinstance(numbers, Chances) else numbers

    found = drawn(3, 1)
    for row, seed in enumerate(seeds):
        expected = one(Draw(seed, 3), 1, torch.zeros(64))
        torch.testing.assert_close(found[row], expected, rtol=0, atol=0)
    assert not torch.equal(found, drawn(4, 1))
    assert not torch.equal(found, drawn(3, 2))


def test_one_seed_is_drawn_once_for_all_rows() -> None:
    draws = Draws([7, 7], torch.zeros(2, 64))
    found = draws.uniform(Place(draws.of_row, 0), 0, torch.zeros(2, 64))
    assert found.numbers.shape == (1, 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 1.0, float("nan")])
def test_what_is_dropped_is_dropped_to_the_bit(p: float, dtype: torch.dtype) -> None:
    like = torch.zeros(1, 256, dtype=dtype)
    numbers = uniform(Draw(5, 3), 0, like)
    edge = torch.tensor(p, dtype=dtype)
    numbers[0, :3] = torch.stack([edge, *(torch.nextafter(edge, edge + d) for d in (-1, 1))])
    x = torch.cat([numbers.log(), -numbers, torch.full_like(like, float("inf")), like / 0])
    x[0, 0], x[1, 1] = float("nan"), -0.0
    rates = torch.tensor([[p], [0.5], [0.2], [0.9]], dtype=dtype)
    for kept, chance in ((x, p), (x[:, :1], p), (1.0, p), (x, rates)):
        found = torch.where(Chances(numbers) < chance, 0.0, kept)
        expected = torch.where(numbers < chance, 0.0, kept)
        assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8))


def test_the_memo_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 1000 + 2 * module.ENTRY)
    memo, calls = Memo(), []

    def draw(address: int) -> torch.Tensor:
        return memo.get((address,), lambda: calls.append(address) or torch.zeros(100))

    for address in (0, 1, 1, 2, 3, 1):
        draw(address)
    assert calls == [0, 1, 2, 3, 1]
