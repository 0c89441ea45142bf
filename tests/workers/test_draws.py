import pytest
import torch

from dsl.randomness import Draw, normal, uniform
from workers import draws as module
from workers.draws import Draws, Memo, Place


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_rows_get_the_draws_of_their_own_seed(kind: str) -> None:
    one = {"uniform": uniform, "normal": normal}[kind]
    seeds, like = [5, 2, 5], torch.zeros(3, 64)
    draws = Draws(seeds, like)
    found = getattr(draws, kind)(Place(draws.of_row, 3), 1, like)
    for row, seed in enumerate(seeds):
        expected = one(Draw(seed, 3), 1, torch.zeros(64))
        torch.testing.assert_close(found[row], expected, rtol=0, atol=0)
    assert not torch.equal(found, getattr(draws, kind)(Place(draws.of_row, 4), 1, like))
    assert not torch.equal(found, getattr(draws, kind)(Place(draws.of_row, 3), 2, like))


def test_one_seed_is_drawn_once_for_all_rows() -> None:
    draws = Draws([7, 7], torch.zeros(2, 64))
    assert draws.uniform(Place(draws.of_row, 0), 0, torch.zeros(2, 64)).shape == (1, 64)


def test_the_memo_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 1000 + 2 * module.ENTRY)
    memo, calls = Memo(), []

    def draw(address: int) -> torch.Tensor:
        return memo.get((address,), lambda: calls.append(address) or torch.zeros(100))

    for address in (0, 1, 1, 2, 3, 1):
        draw(address)
    assert calls == [0, 1, 2, 3, 1]
