"""Stacking the training step of any module by `torch.func`."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from workers.tasks.task import Examples, Model, Stacked, Task

Tensors = dict[str, Tensor]

SMALL = 32_768
"""Weights of a model that is stacked twice where it is the only row: a product of a single small
model takes another way and rounds otherwise. So does a convolution of any size: a lone model that
has convolutions among its layers is stacked twice however large it is; those that a larger module
calls as functions are not seen, and round otherwise where it is alone."""


class StackedModule:
    """A task's module, not rewritten: `vmap` over the rows of its gradient function."""

    def __init__(self, task: Task) -> None:
        """Build the module's skeletons, which own no numbers."""
        self._task = task
        self._training = _skeleton(task).train()
        self._judged = _skeleton(task).eval()
        self._lstm = has_lstm(self._training)
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        self._convolutional = any(isinstance(each, _ConvNd) for each in self._training.modules())
        self._normalised = any(isinstance(each, kinds) for each in self._training.modules())

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

        def loss(parameters: Tensors, statistics: Tensors, own: Examples) -> tuple[Tensor, Tensors]:
            # BatchNorm writes into its buffers: give it copies, hand them back beside the loss
            moved = {name: value.clone() for name, value in statistics.items()}
            return self._task.loss(_model(self._training, parameters, moved), own), moved

        stepped = vmap(grad_and_value(loss, has_aux=True), randomness="different")
        lonely = self._lonely(weights)
        rows, together = _in_company(weights, buffers, batch, shared=shared, lonely=lonely)
        with plain_kernels(self._lstm), self._channels():
            found, (losses, moved) = stepped(*together)
        for name, gradient in found.items():
            gradients[name].copy_(gradient[:rows])
        for name, value in moved.items():
            buffers[name].copy_(value[:rows])
        return torch.as_tensor(losses[:rows])

    def measure(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], examples: Examples
    ) -> dict[str, Tensor]:
        """See `workers.tasks.task.Stacked.measure`."""

        def one(parameters: Tensors, statistics: Tensors, own: Examples) -> Tensors:
            def beside(nothing: Tensor) -> tuple[Tensor, Tensors]:
                model = _model(self._judged, parameters, statistics)
                return nothing, self._task.measure(model, own)

            # Recurrent layers have no batching rule of their own, but are taken apart into
            # operations that do where a gradient might be asked for: ask for that of nothing.
            found: Tensors = grad_and_value(beside, has_aux=True)(torch.zeros(()))[1][1]
            return found

        lonely = self._lonely(weights)
        rows, together = _in_company(weights, buffers, examples, shared=True, lonely=lonely)
        with plain_kernels(self._lstm), self._channels():
            measured: Tensors = vmap(one, randomness="different")(*together)
        return {name: values[:rows] for name, values in measured.items()}

    def _lonely(self, weights: Mapping[str, Tensor]) -> bool:
        """Tell whether the only row of a stack would be rounded otherwise than among others."""
        first = next(iter(weights.values()))
        if len(first) != 1 or not first.is_cpu:
            return False
        return self._convolutional or sum(value.numel() for value in weights.values()) <= SMALL

    def _channels(self) -> AbstractContextManager[object]:
        return _Channels() if self._normalised else nullcontext()


def _skeleton(task: Task) -> nn.Module:
    """Return the task's module without numbers; weights that its parts share are shared again."""
    module = task.initial(0)
    named = list(module.named_parameters(remove_duplicate=False))
    first = {id(value): name for name, value in reversed(named)}
    module.to("meta")
    for name, value in named:
        if first[id(value)] != name:
            owner, _, own = name.rpartition(".")
            setattr(module.get_submodule(owner), own, module.get_parameter(first[id(value)]))
    return module


def _model(skeleton: nn.Module, parameters: Tensors, buffers: Tensors) -> Model:
    def model(*inputs: Any, **named: Any) -> Tensor:
        output: Tensor = functional_call(skeleton, (parameters, buffers), inputs, named)
        return output

    return model


class _Channels(TorchFunctionMode):
    """Has BatchNorm on a CPU read every channel along contiguous memory.

    Else a channel's bits depend on where it lies among those of other rows.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not functional.batch_norm or not args[0].is_cpu:
            return func(*args, **kwargs)
        # a copy, for shared examples lie on top of each other
        channels = args[0].movedim(1, 0).clone(memory_format=torch.contiguous_format)
        normal = func(channels.flatten(1).unsqueeze(0), *args[1:], **kwargs)
        return normal.view(channels.shape).movedim(0, 1)


def _in_company(
    weights: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    batch: Examples,
    *,
    shared: bool,
    lonely: bool,
) -> tuple[int, tuple[Tensors, Tensors, Examples]]:
    """Return the number of rows, and every row's own tensors, those of a lonely row twice.

    Shared examples become every row's own without being copied. Else `vmap` makes the rows'
    products with them one large product, in which a row's bits depend on how many rows there are.
    """
    rows = len(next(iter(weights.values())))

    def with_company(value: Tensor) -> Tensor:
        return torch.cat([value, value]) if lonely else value

    own = tuple(
        value.expand(rows + lonely, *value.shape) if shared else with_company(value)
        for value in batch
    )
    parameters = {name: with_company(value) for name, value in weights.items()}
    statistics = {name: with_company(value) for name, value in buffers.items()}
    return rows, (parameters, statistics, own)


def has_lstm(module: nn.Module) -> bool:
    """Tell whether LSTM layers are among the module's."""
    return any(isinstance(each, nn.LSTM) for each in module.modules())


@contextmanager
def plain_kernels(lstm: bool) -> Iterator[None]:
    """Have attention, and with `lstm` LSTM, computed by operations that `vmap` can batch."""
    kernels: Any = torch.backends
    fast, fused = kernels.mha.get_fastpath_enabled(), kernels.mkldnn.enabled
    with sdpa_kernel(SDPBackend.MATH):
        try:
            kernels.mha.set_fastpath_enabled(False)
            kernels.mkldnn.enabled = fused and not lstm
            yield
        finally:
            kernels.mha.set_fastpath_enabled(fast)
            kernels.mkldnn.enabled = fused


def trained(module: nn.Module) -> Tensors:
    """Return the parameters that training moves, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def held(module: nn.Module) -> Tensors:
    """Return the buffers and the frozen parameters, by name."""
    frozen = {name: value for name, value in module.named_parameters() if not value.requires_grad}
    return {**dict(module.named_buffers()), **frozen}


def stack_task(task: Task) -> Stacked:
    """Return the task's own batched step, or its module stacked by `torch.func`."""
    return task.stacked() or StackedModule(task)
