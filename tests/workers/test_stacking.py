import pytest
import torch
from torch import Tensor, nn

from workers.layout import Layout
from workers.stacking import StackedModule, stack_task
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples, Model, Split, Task


class Convolution(Task):
    """A small image model with running statistics."""

    name = "convolution"
    description = "for tests"

    def module(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)
        )

    def examples(self, split: Split) -> Examples:
        generator = torch.Generator().manual_seed(len(split))
        return (
            torch.randn(30, 1, 6, 6, generator=generator),
            torch.randint(4, (30,), generator=generator),
        )

    def loss(self, model: Model, batch: Examples) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("shared", [True, False])
def test_a_module_with_batch_norm_stacks_unchanged(shared: bool) -> None:
    task, rows = Convolution(), 3
    stacked = stack_task(task)
    assert isinstance(stacked, StackedModule)
    modules = [task.initial(seed).double() for seed in range(rows)]
    layout = Layout(modules[0])
    flat = torch.stack([layout.pack(dict(each.named_parameters())) for each in modules])
    gradients = torch.zeros_like(flat)
    buffers = {
        name: torch.stack([dict(each.named_buffers())[name] for each in modules])
        for name, _ in modules[0].named_buffers()
    }
    inputs, targets = task.examples("train")
    order = torch.arange(10) if shared else torch.arange(30).view(3, 10)
    batch = (inputs.double()[order], targets[order])
    losses = stacked.step(
        layout.views(flat), buffers, batch, shared=shared, gradients=layout.views(gradients)
    )
    for row, module in enumerate(modules):
        own = batch if shared else tuple(value[row] for value in batch)
        loss = task.loss(module.train(), own)
        loss.backward()
        torch.testing.assert_close(losses[row], loss.detach())
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(layout.views(gradients)[name][row], parameter.grad)
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(buffers[name][row], buffer)
    validation = tuple(
        value.double() if value.is_floating_point() else value
        for value in task.examples("validation")
    )
    measured = stacked.measure(layout.views(flat), buffers, validation)["loss"]
    with torch.no_grad():
        expected = [task.loss(module.eval(), validation) for module in modules]
    torch.testing.assert_close(measured, torch.stack(expected))


def test_a_task_may_bring_its_own_step() -> None:
    assert not isinstance(stack_task(TASKS["digits-mlp"]), StackedModule)
