import pytest
import torch

from tests.workers.test_stacking import stacked
from workers.stacking import StackedModule
from workers.tasks.digits_conv import DigitsConv

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
