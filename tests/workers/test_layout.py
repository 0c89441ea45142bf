import pytest
import torch
from torch import nn

from workers.layout import ALIGN, Layout

MODULE = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))
SPANS = [(0, 6), (6, 8), (8, 10)]


def test_views_are_the_packed_parameters_and_write_through() -> None:
    layout = Layout(MODULE)
    parameters = dict(MODULE.named_parameters())
    flat = torch.stack([layout.pack(parameters), 2 * layout.pack(parameters)])
    assert (layout.size, layout.width) == (10, ALIGN)
    for name, view in layout.views(flat).items():
        torch.testing.assert_close(view[0], parameters[name].detach(), rtol=0, atol=0)
        torch.testing.assert_close(view[1], 2 * parameters[name].detach(), rtol=0, atol=0)
    layout.views(flat)["1.weight"].fill_(7)
    assert flat[:, 8:10].eq(7).all()
    assert flat[:, 10:].eq(0).all()


@pytest.mark.parametrize("name", ["norm", "mean", "rms"])
def test_reductions_are_per_parameter_and_ignore_the_padding(name: str) -> None:
    layout = Layout(MODULE)
    x = torch.randn(4, layout.width, dtype=torch.float64)
    x[:, layout.size :] = 1e9
    one = {
        "norm": torch.linalg.vector_norm,
        "mean": torch.mean,
        "rms": lambda part: part.square().mean().sqrt(),
    }[name]
    found = getattr(layout, name)(x)
    for row in range(4):
        for start, end in SPANS:
            expected = one(x[row, start:end]).expand(end - start)
            torch.testing.assert_close(found[row, start:end], expected)
