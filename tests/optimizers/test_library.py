"""Optimizers from other libraries train a model, and refuse what they do not know."""

import pytest
import torch
from torch import nn

from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY, library_optimizer


def test_names_are_not_the_catalogues():
    assert not set(LIBRARY) & set(CATALOGUE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LIBRARY)
def test_trains(name):
    entry = LIBRARY[name]
    if not entry.available():
        pytest.skip(f"{entry.module} is an optional dependency")
    torch.manual_seed(0)
    bias = name != "muon_matrices"
    net = nn.Sequential(nn.Linear(4, 8, bias), nn.Tanh(), nn.Linear(8, 1, bias))
    x = torch.randn(64, 4)
    y = x[:, :1] * x[:, 1:2]
    optimizer = library_optimizer(name, net.parameters())
    if entry.modes:
        optimizer.train()

    def closure():
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        return loss

    before = closure().item()
    for _ in range(60):
        if entry.closure:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    if entry.modes:
        optimizer.eval()
    assert closure().item() < before


def test_errors():
    p = [torch.ones(2, requires_grad=True)]
    with pytest.raises(ValueError, match="no optimizer 'sopa'; allowed: adafactor"):
        library_optimizer("sopa", p)
    with pytest.raises(ValueError, match="'adamax' has no option 'beta'; allowed: betas"):
        library_optimizer("adamax", p, beta=1)
    with pytest.raises(ValueError, match="2D"):
        library_optimizer("muon_matrices", p)


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_optimizer", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pytorch-optimizer"):
        library_optimizer("soap", [torch.ones(2, 2, requires_grad=True)])
