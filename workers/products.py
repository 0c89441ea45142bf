"""Products of every row's own matrix with one that all rows share."""

from functools import lru_cache

import torch
from torch import Tensor

TRIED = 3
"""Rows of the products that are compared before oneDNN's are trusted."""


def with_shared(matrices: Tensor, shared: Tensor) -> Tensor:
    """Return every matrix times the transpose of one that all share, [rows, m, n].

    torch multiplies float32 matrices on a CPU by MKL, which on some processors reaches half of the
    rate, or less, of the oneDNN that torch has on board too. One large product by that is taken
    where it gives the very bits of the rows' own products, so that a row's numbers depend neither
    on how many rows there are nor on whether they share their batches.

    Args:
        matrices: [rows, m, k].
        shared: [n, k].
    """
    rows, m, k = matrices.shape
    if rows and matrices.is_cpu and matrices.dtype == torch.float32 and _agree(m, k, len(shared)):
        return _at_once(matrices, shared)
    return _apart(matrices, shared)


def _apart(matrices: Tensor, shared: Tensor) -> Tensor:
    return torch.bmm(matrices, shared.expand(len(matrices), *shared.shape).transpose(1, 2))


def _at_once(matrices: Tensor, shared: Tensor) -> Tensor:
    rows, m, k = matrices.shape
    flat = matrices.reshape(rows * m, k)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(flat, shared, None, "none", [], "")
    return product.view(rows, m, len(shared))


@lru_cache(maxsize=256)
def _agree(m: int, k: int, n: int) -> bool:
    """Tell whether both ways give the same bits: they do while sums of k terms are not cut up."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(TRIED, m, k, generator=generator)
    shared = torch.randn(n, k, generator=generator)
    expected = _apart(matrices, shared)
    return all(
        torch.equal(_at_once(matrices[:rows], shared), expected[:rows])
        for rows in range(1, TRIED + 1)
    )
