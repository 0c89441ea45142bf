"""Optimizers from other libraries train a model, and refuse what they do not know."""

import pytest
import torch
from torch import nn

from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY, find_library, library_optimizer


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


def test_numbers_of_a_constructor_have_names():
    muon = LIBRARY["muon_matrices"]
    assert (muon.path, muon.package, muon.weight_decay) == ("torch.optim.Muon", "torch", 0.1)
    assert muon.hyperparameters["ns_coefficient2"] == -4.775
    assert not {"lr", "weight_decay", "nesterov", "adjust_lr_fn"} & set(muon.options)
    rprop = LIBRARY["rprop"]
    assert rprop.weight_decay is None
    assert list(rprop.hyperparameters) == ["eta1", "eta2", "step_size1", "step_size2"]
    assert rprop.valued({"eta2": 1.5, "step_size1": 0.1}) == {
        "etas": (0.5, 1.5),
        "step_sizes": (0.1, 50),
    }


def test_numbers_are_checked():
    lbfgs = LIBRARY["lbfgs"]
    assert lbfgs.valued({"max_iter": 5.0, "tolerance_grad": 1}) == {
        "max_iter": 5,
        "tolerance_grad": 1.0,
    }
    assert isinstance(lbfgs.valued({"max_iter": 5.0})["max_iter"], int)
    with pytest.raises(ValueError, match=r"max_iter = 5\.5, but it must be a whole number"):
        lbfgs.valued({"max_iter": 5.5})
    with pytest.raises(ValueError, match="'lbfgs' has no option 'beta'; allowed: history_size, m"):
        lbfgs.valued({"beta": 0.9})


@pytest.mark.parametrize("name", [name for name in LIBRARY if LIBRARY[name].available()])
def test_defaults_said_as_numbers_are_the_defaults(name):
    entry = LIBRARY[name]
    for argument, value in entry.valued(entry.hyperparameters).items():
        assert value == entry.arguments[argument].default, argument
    for option, default in entry.hyperparameters.items():
        assert entry.valued({option: default}), option


def test_numbers_without_a_finite_default_can_be_given():
    prodigy = LIBRARY["prodigy"]
    if not prodigy.available():
        pytest.skip("pytorch_optimizer is an optional dependency")
    assert not {"beta3", "growth_rate"} & set(prodigy.hyperparameters)
    assert prodigy.valued({"beta3": 0.9, "growth_rate": 2}) == {"beta3": 0.9, "growth_rate": 2.0}
    assert LIBRARY["mars"].valued({"beta2_1d": 0.5}) == {"betas_1d": (0.9, 0.5)}


def test_entries_are_found_by_where_they_come_from():
    for entry in LIBRARY.values():
        assert find_library(entry.path) is entry
    with pytest.raises(ValueError, match=r"no library optimizer 'torch\.optim\.Nothing'; al"):
        find_library("torch.optim.Nothing")
