import pytest
import torch

from workers import products
from workers.products import with_shared


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(32, 64, 64), (32, 64, 359), (8, 300, 7)])
def test_a_rows_product_has_the_same_bits_whatever_is_beside_it(
    m: int, k: int, n: int, dtype: torch.dtype
) -> None:
    flat = torch.randn(70, 2 * m * k, dtype=dtype)
    matrices, shared = flat[:, : m * k].view(70, m, k), torch.randn(n, k, dtype=dtype)
    alone = torch.bmm(matrices, shared.expand(70, n, k).transpose(1, 2))
    assert (alone[3] - matrices[3] @ shared.t()).abs().max() < 1e-4
    for rows in (slice(0, 1), slice(5, 6), slice(2, 50), slice(0, 70)):
        assert torch.equal(with_shared(matrices[rows], shared), alone[rows])


def test_another_rounding_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_at_once", lambda matrices, shared: matrices @ shared.t() + 1e-6)
    products._agree.cache_clear()
    matrices, shared = torch.randn(4, 32, 64), torch.randn(64, 64)
    assert torch.equal(with_shared(matrices, shared), products._apart(matrices, shared))
    monkeypatch.undo()
    products._agree.cache_clear()
