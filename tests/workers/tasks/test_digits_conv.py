import copy

import pytest
import torch
from torch import nn

from tests.workers.test_stacking import stacked
from workers.layout import Layout
from workers.stacking import StackedModule
from workers.tasks.digits_conv import DigitsConv
from workers.tasks.task import Examples

TASK, ROWS = DigitsConv(), 11


@pytest.mark.parametrize("shared", [True, False])
def test_the_step_by_hand_equals_the_stacked_module(shared: bool) -> None:
    modules = [TASK.initial(seed).double() for seed in range(ROWS)]
    layout, flat, buffers = stacked(modules)
    # gains and shifts as after some training, some of them negative
    for name, value in layout.views(flat).items():
        if name.startswith(("1.", "5.")):
            value += 0.8 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    images, targets = TASK.examples("train")
    chosen = torch.arange(24) if shared else torch.arange(24 * ROWS).view(ROWS, 24)
    batch = (images.double()[chosen], targets[chosen])
    found = []
    for program in (TASK.stacked(), StackedModule(TASK)):
        own = {name: value.clone() for name, value in buffers.items()}
        gradients = torch.zeros_like(flat)
        losses = program.step(
            layout.views(flat), own, batch, shared=shared, gradients=layout.views(gradients)
        )
        found.append((losses, layout.views(gradients), own))
    (losses, gradients, own), (expected, by_autograd, statistics) = found
    torch.testing.assert_close(losses, expected, rtol=1e-11, atol=1e-12)
    for name, value in by_autograd.items():
        assert value.abs().sum() > 0
        torch.testing.assert_close(gradients[name], value, rtol=1e-9, atol=1e-12, msg=name)
    for name, value in statistics.items():
        torch.testing.assert_close(own[name], value, rtol=1e-10, atol=1e-12)


def test_measures_by_hand_equal_those_of_the_module() -> None:
    modules = [TASK.initial(seed).double() for seed in range(ROWS)]
    images, targets = TASK.examples("validation")
    examples = (images.double(), targets)
    with torch.no_grad():
        for module in modules:
            module(examples[0][:50])
        layout, flat, buffers = stacked(modules)
        found = TASK.stacked().measure(layout.views(flat), buffers, examples)
        for i, module in enumerate(modules):
            expected = TASK.measure(module.eval(), examples)
            assert set(found) == set(expected)
            for name, value in expected.items():
                torch.testing.assert_close(found[name][i], value)


def test_gradients_in_float32_are_as_near_to_the_exact_ones_as_the_ordinary_step() -> None:
    modules = [TASK.initial(seed) for seed in range(ROWS)]
    images, targets = TASK.examples("train")
    batch = (images[:64], targets[:64])
    layout, flat, buffers = stacked(modules)
    found = torch.zeros_like(flat)
    TASK.stacked().step(
        layout.views(flat), buffers, batch, shared=True, gradients=layout.views(found)
    )
    ordinary, exact = (
        [_gradient(layout, copy.deepcopy(module).to(dtype), batch) for module in modules]
        for dtype in (torch.float32, torch.float64)
    )
    errors = [
        sum(
            float((one - other).norm() / other.norm())
            for one, other in zip(each, exact, strict=True)
        )
        for each in (found, ordinary)
    ]
    assert 0 < errors[0] < 2 * errors[1]


def _gradient(layout: Layout, module: nn.Module, batch: Examples) -> torch.Tensor:
    dtype = next(module.parameters()).dtype
    TASK.loss(module, (batch[0].to(dtype), batch[1])).backward()
    return layout.pack({name: value.grad for name, value in module.named_parameters()})
