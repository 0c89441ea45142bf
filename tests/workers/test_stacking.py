from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from workers.layout import Layout
from workers.stacking import StackedModule, stack_task
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples, Model, Split, Task


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.attention(inputs, inputs, inputs, need_weights=False)[0]
        return output


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = kind(8, 5, batch_first=True, **({} if kind is nn.RNN else {"num_layers": 2}))

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(inputs)[0]
        return output


class Tied(nn.Module):
    """Two layers of one weight, two parts that are one, and a recurrent one that shares within."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.again = nn.Linear(8, 8), nn.Linear(8, 8)
        self.outer = nn.RNN(8, 8, batch_first=True)
        self.again.weight = self.inner.weight
        self.outer.weight_hh_l0 = self.outer.weight_ih_l0
        self.more = self.inner

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.more(self.again(self.inner(inputs).tanh()).tanh())
        output: Tensor = self.outer(hidden)[0]
        return output


MODULES = {
    "batch-norm": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)
    ),
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
    "rnn": lambda: Recurrent(nn.RNN),
    "attention": Attention,
    "tied": Tied,
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
}


class Sequences(Task):
    """Any module on random sequences [8, 8], which BatchNorm sees as images."""

    name = "sequences"
    description = "for tests"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def module(self) -> nn.Module:
        return MODULES[self.kind]()

    def examples(self, split: Split) -> Examples:
        generator = torch.Generator().manual_seed(len(split))
        shape = (30, 1, 8, 8) if self.kind == "batch-norm" else (30, 8, 8)
        return (torch.randn(*shape, generator=generator), torch.randn(30, generator=generator))

    def loss(self, model: Model, batch: Examples) -> Tensor:
        return (model(batch[0]).flatten(1).mean(1) - batch[1]).square().mean()


def stacked(modules: Sequence[nn.Module]) -> tuple[Layout, Tensor, dict[str, Tensor]]:
    layout = Layout(modules[0])
    flat = torch.stack([layout.pack(dict(each.named_parameters())) for each in modules])
    held = [dict(each.named_buffers()) for each in modules]
    return layout, flat, {name: torch.stack([each[name] for each in held]) for name in held[0]}


def in_double(examples: Examples) -> Examples:
    return tuple(value.double() if value.is_floating_point() else value for value in examples)


def check(task: Task, *, shared: bool, rows: int = 3, batch_size: int = 10) -> None:
    """A stacked step and measurement equal those of modules one by one."""
    program = StackedModule(task)
    modules = [task.initial(seed).double() for seed in range(rows)]
    layout, flat, buffers = stacked(modules)
    gradients = torch.zeros_like(flat)
    order = torch.arange(batch_size * (1 if shared else rows))
    order = order if shared else order.view(rows, batch_size)
    batch = tuple(value[order] for value in in_double(task.examples("train")))
    losses = program.step(
        layout.views(flat), buffers, batch, shared=shared, gradients=layout.views(gradients)
    )
    for row, module in enumerate(modules):
        own = batch if shared else tuple(value[row] for value in batch)
        loss = task.loss(module.train(), own)
        loss.backward()
        torch.testing.assert_close(losses[row], loss.detach(), rtol=1e-10, atol=1e-12)
        for name, parameter in module.named_parameters():
            found = layout.views(gradients)[name][row]
            torch.testing.assert_close(found, parameter.grad, rtol=1e-9, atol=1e-12)
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(buffers[name][row], buffer)
    examples = in_double(task.examples("validation"))
    with torch.no_grad():
        measured = program.measure(layout.views(flat), buffers, examples)
        for row, module in enumerate(modules):
            for name, value in task.measure(module.eval(), examples).items():
                torch.testing.assert_close(measured[name][row], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", sorted(MODULES))
def test_modules_stack_unchanged(kind: str, shared: bool) -> None:
    check(Sequences(kind), shared=shared)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_stacks_unchanged(name: str) -> None:
    for shared in (True, False):
        check(TASKS[name], shared=shared, rows=2, batch_size=6)


SENSITIVE = {
    "one-output": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 1)
    ),
    "convolution": lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 3)),
    "large-convolution": lambda: nn.Sequential(
        nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(1024, 2)
    ),
    "norm-1d": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.BatchNorm1d(7)),
    "norm-1d-long": lambda: nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(1), nn.Conv1d(1, 3, 5)),
    "norm-2d": MODULES["batch-norm"],
    "norm-of-a-pixel": lambda: nn.Sequential(
        nn.Conv2d(1, 6, 8), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)
    ),
    "group-norm": lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.GroupNorm(2, 6)),
}


class Images(Sequences):
    """Modules on images [1, 8, 8]."""

    def module(self) -> nn.Module:
        return SENSITIVE[self.kind]()

    def examples(self, split: Split) -> Examples:
        inputs, targets = super().examples(split)
        return inputs.view(30, 1, 8, 8), targets


@pytest.mark.parametrize("kind", sorted(SENSITIVE))
def test_a_rows_bits_depend_on_no_other_row(kind: str) -> None:
    task = Images(kind)
    program, known = StackedModule(task), {}
    batch = tuple(value[:10] for value in task.examples("train"))
    for rows, shared in ((1, True), (2, True), (3, False), (5, True), (8, False)):
        own = batch if shared else tuple(torch.stack([value] * rows) for value in batch)
        layout, flat, buffers = stacked([task.initial(seed) for seed in range(rows)])
        gradients = torch.zeros_like(flat)
        with torch.no_grad():
            weights, into = layout.views(flat), layout.views(gradients)
            losses = program.step(weights, buffers, own, shared=shared, gradients=into)
            measured = program.measure(weights, buffers, task.examples("validation"))["loss"]
        for row in range(rows):
            found = [
                gradients[row],
                losses[row],
                measured[row],
                *(v[row] for v in buffers.values()),
            ]
            for one, other in zip(found, known.setdefault(row, found), strict=True):
                assert torch.equal(one, other), (rows, row)


def test_kernels_are_as_before_after_a_step() -> None:
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    flash = torch.backends.cuda.flash_sdp_enabled()
    check(Sequences("lstm"), shared=True)
    assert before == (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled)
    assert flash == torch.backends.cuda.flash_sdp_enabled()


def test_a_task_may_bring_its_own_step() -> None:
    assert not isinstance(stack_task(TASKS["digits-mlp"]), StackedModule)
