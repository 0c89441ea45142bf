"""Stacking the training step of any module by `torch.func`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from workers.tasks.task import Examples, Stacked, Task

Tensors = dict[str, Tensor]


class StackedModule:
    """A task's module, not rewritten: `vmap` over the rows of its gradient function."""

    def __init__(self, task: Task) -> None:
        """Build the module's skeletons, which own no numbers."""
        self._task = task
        self._training = task.initial(0).to("meta").train()
        self._judged = task.initial(0).to("meta").eval()
        self._long_memory = any(isinstance(each, nn.LSTM) for each in self._training.modules())

    def step(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        batch: Examples,
        *,
        shared: bool,
        gradients: Mapping[str, Tensor],
    ) -> Tensor:
        """See `workers.tasks.task.Stacked.step`."""
        stepped = vmap(
            grad_and_value(self._loss, has_aux=True),
            randomness="different",
        )
        if shared:
            batch = _for_each(batch, weights)
        with self._plain_kernels():
            found, (losses, moved) = stepped(dict(weights), dict(buffers), batch)
        for name, gradient in found.items():
            gradients[name].copy_(gradient)
        for name, value in moved.items():
            buffers[name].copy_(value)
        return torch.as_tensor(losses)

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        """See `workers.tasks.task.Stacked.measure`."""

        def one(parameters: Tensors, statistics: Tensors, own: Examples) -> Tensors:
            def model(*inputs: Tensor) -> Tensor:
                held = (parameters, statistics)
                output: Tensor = functional_call(self._judged, held, inputs)
                return output

            def beside(nothing: Tensor) -> tuple[Tensor, Tensors]:
                return nothing, self._task.measure(model, own)

            # Recurrent layers have no batching rule of their own, but are taken apart into
            # operations that do where a gradient might be asked for: ask for that of nothing.
            found: Tensors = grad_and_value(beside, has_aux=True)(torch.zeros(()))[1][1]
            return found

        with self._plain_kernels():
            every = _for_each(examples, weights)
            measured: Tensors = vmap(one)(dict(weights), dict(buffers), every)
        return measured

    @contextmanager
    def _plain_kernels(self) -> Iterator[None]:
        """Have attention and LSTM computed by operations that `vmap` can batch."""
        kernels: Any = torch.backends
        fast, fused = kernels.mha.get_fastpath_enabled(), kernels.mkldnn.enabled
        with sdpa_kernel(SDPBackend.MATH):
            try:
                kernels.mha.set_fastpath_enabled(False)
                kernels.mkldnn.enabled = fused and not self._long_memory
                yield
            finally:
                kernels.mha.set_fastpath_enabled(fast)
                kernels.mkldnn.enabled = fused

    def _loss(
        self, parameters: Tensors, buffers: Tensors, batch: Examples
    ) -> tuple[Tensor, Tensors]:
        # BatchNorm writes into its buffers: give it copies, hand them back beside the loss
        moved = {name: value.clone() for name, value in buffers.items()}

        def model(*inputs: Tensor) -> Tensor:
            output: Tensor = functional_call(self._training, (parameters, moved), inputs)
            return output

        return self._task.loss(model, batch), moved


def _for_each(examples: Examples, weights: Mapping[str, Tensor]) -> Examples:
    """Return shared examples as every row's own, without copying them.

    Else `vmap` makes the rows' products with shared inputs one large product, in which a row's
    bits depend on how many rows there are.
    """
    rows = len(next(iter(weights.values())))
    return tuple(value.expand(rows, *value.shape) for value in examples)


def stack_task(task: Task) -> Stacked:
    """Return the task's own batched step, or its module stacked by `torch.func`."""
    return task.stacked() or StackedModule(task)
