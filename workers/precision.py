"""In which precision a training step is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dsl.schema import Precision
from workers.tasks.task import Examples, Model, Split, Task

_NORMS = frozenset(
    getattr(module, f"{kind}_norm")
    for module in (functional, torch)
    for kind in ("batch", "instance", "layer", "group", "rms")
)


_ATTENTION = (functional.scaled_dot_product_attention, functional.multi_head_attention_forward)


class _Exceptions(TorchFunctionMode):
    """Where autocast fails under `torch.func`, does what it means to do.

    Normalisation works in float32, in which its weights and statistics are; attention gets its
    arguments in bfloat16.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _NORMS:
            return func(args[0].float(), *args[1:], **kwargs)
        if func in _ATTENTION:
            with torch.autocast(self._device, enabled=False):
                low = {name: _low(value) for name, value in kwargs.items()}
                return func(*map(_low, args), **low)
        return func(*args, **kwargs)


def _low(value: Any) -> Any:
    return value.bfloat16() if isinstance(value, Tensor) and value.is_floating_point() else value


class Lowered(Task):
    """A task whose model is run in bfloat16 while it is trained.

    torch's autocast chooses the operations that are safe in bfloat16: products and convolutions;
    their gradients are computed as they were. Weights, gradients and the loss are in float32, and
    so is everything that is measured.
    """

    def __init__(self, task: Task, device: str) -> None:
        """Wrap `task`, which is trained on a device of this type, `cpu` or `cuda`."""
        self._task, self._device = task, device

    @property
    def name(self) -> str:  # type: ignore[override]
        """The task's name."""
        return self._task.name

    def module(self) -> nn.Module:
        """Return the task's module."""
        return self._task.module()

    def initial(self, seed: int) -> nn.Module:
        """Return the task's module with its weights of this seed, in float32."""
        return self._task.initial(seed)

    def examples(self, split: Split) -> Examples:
        """Return the task's examples."""
        return self._task.examples(split)

    def loss(self, model: Model, batch: Examples) -> Tensor:
        """Return the loss, in float32, of what the model says in bfloat16."""

        def lowered(*inputs: Tensor) -> Tensor:
            # a cache of casts would keep for the next step what vmap has done with
            lower = torch.autocast(self._device, torch.bfloat16, cache_enabled=False)
            with lower, _Exceptions(self._device):
                output = model(*inputs)
            return output.float()

        return self._task.loss(lowered, batch)

    def measure(self, model: Model, examples: Examples) -> dict[str, Tensor]:
        """Return what the task measures of the model as it is, in float32."""
        return self._task.measure(model, examples)


@lru_cache(maxsize=64)
def in_precision(task: Task, precision: Precision, device: str) -> Task:
    """Return a task that is trained like `task`, in a precision, on a type of device."""
    if precision != "bfloat16" or isinstance(task, Lowered):
        return task
    return Lowered(task, device)


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Let GPUs compute products and convolutions of float32 numbers in tf32, or not, meanwhile.

    Elsewhere nothing changes: a CPU has no tf32. Whatever was chosen before holds again afterwards.
    """
    backends: Any = torch.backends
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for place, chosen in zip(places, before, strict=True):
            place.fp32_precision = chosen
