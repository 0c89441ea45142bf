"""A step tried before training, which tells how a task's module can be trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from workers.batches import Batches, Data
from workers.generators import Generators, host_state
from workers.memory import out_of_memory
from workers.module_draws import ModuleDraws, measuring, training
from workers.module_state import State
from workers.stacking import StackedModule, has_lstm, held, plain_kernels, trained
from workers.tasks.task import Examples, Stacked, Task

SEEDS = (0, 1)
"""Of the two rows that are tried."""

STEPS = 2
"""The second sees what the first has left behind."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}
"""How far, relatively, a stacked loss may lie from the ordinary one's; 0.1 in half precision."""


_LONGEST = 240
"""Characters of torch's own message that are shown."""

_MEANT = {
    "data-dependent control flow": "it reads a tensor's value, by .item() or to branch on it",
    "data pointer": "it hands a tensor's numbers to another library, NumPy say",
    "setup_context": "it has a torch.autograd.Function without setup_context and vmap",
    "vmap staticmethod": "it has a torch.autograd.Function without a rule for vmap",
    "broadcast shape": "it writes rows' own numbers into a tensor that they share",
    "vmap: inplace arithmetic": "it writes rows' own numbers into a tensor that they share",
    "do not yet support": "torch has no batching rule for one of its operations",
    "'function' object has no": "its loss or measure reads the model's attributes",
    "Batching rule not implemented": "torch has no batching rule for one of its operations",
}
"""What torch's messages mean, by words that are in them."""


@dataclass(frozen=True)
class Finding:
    """What the tried step told of a task's module."""

    draws: bool
    """It draws random numbers while it is trained or measured (dropout, say)."""

    obstacle: str | None
    """Why its rows cannot be stacked; None where they can."""


_KNOWN: WeakKeyDictionary[Task, dict[Any, Finding]] = WeakKeyDictionary()


def try_step(task: Task, model: Stacked, data: Data, batch_size: int) -> Finding:
    """Take two ordinary steps and two stacked ones on two rows, and measure.

    Once for a task, device, precision and batch size: a module may look at its inputs' shapes.

    What the ordinary steps raise is the task's own fault and is passed on. Whatever only the
    stacked ones raise is an obstacle to stacking. So is a loss that is not the ordinary one's, and
    what rows would share: attributes that change, generators of NumPy and Python.
    A task's own batched step is not tried.
    """
    known = _KNOWN.setdefault(task, {})
    key = (data.device.type, data.dtype, batch_size)
    if key not in known:
        known[key] = _Attempt(task, data, batch_size).find(model)
    return known[key]


def failed_later(task: Task, data: Data, batch_size: int, error: Exception) -> Finding:
    """Note what a stack raised after the tried steps; that task is then no longer stacked."""
    known = _KNOWN[task]
    key = (data.device.type, data.dtype, batch_size)
    known[key] = Finding(known[key].draws, _cannot_stack(error))
    return known[key]


class _Attempt:
    """Two rows' modules and batches."""

    def __init__(self, task: Task, data: Data, batch_size: int) -> None:
        self._task, self._device, self._dtype = task, data.device, data.dtype
        self._modules = [task.initial(seed).to(data.device, data.dtype) for seed in SEEDS]
        batches = Batches(data.split("train"), SEEDS, batch_size, 1)
        self._batch = batches.at(0)
        self._host = False
        """Whether NumPy's or Python's generator was drawn from, which all rows would share."""

        self._judged = data.split("validation")

    def find(self, model: Stacked) -> Finding:
        # stacked before the ordinary steps, which may move buffers
        weights = _stacked([trained(module) for module in self._modules])
        buffers = _stacked([held(module) for module in self._modules])
        losses, draws, before = [], False, State(self._modules[0])
        for row, (module, seed) in enumerate(zip(self._modules, SEEDS, strict=True)):
            own = tuple(value[row] for value in self._batch)
            found, drew = self._ordinary(module, seed, own)
            losses.append(found)
            draws = draws or drew
        if not isinstance(model, StackedModule):
            return Finding(draws, None)
        changed = before.changed(State(self._modules[0]))
        if changed:
            return Finding(draws, f"its module keeps {changed[0]!r} from step to step, no buffer")
        if self._host:
            return Finding(draws, "its module draws from NumPy's or Python's generator")
        try:
            stacked = self._stacked(model, weights, buffers, draws)
        except Exception as error:  # anything that the module meets under vmap alone
            if out_of_memory(error):
                return Finding(draws, None)  # smaller stacks may do
            return Finding(draws, _cannot_stack(error))
        tolerance = TOLERANCE.get(self._dtype, 0.1)
        expected = torch.stack(losses, 1)
        if torch.allclose(stacked, expected, rtol=tolerance, atol=tolerance, equal_nan=True):
            return Finding(draws, None)
        return Finding(draws, "stacked by torch.func, its module has another loss than alone")

    def _ordinary(self, module: nn.Module, seed: int, batch: Examples) -> tuple[Tensor, bool]:
        """Return the losses [STEPS] of one row, and whether anything was drawn."""
        draws, losses = ModuleDraws([seed], self._device, stacked=False), []
        kernels, generators = plain_kernels(has_lstm(module)), Generators(seed, self._device)
        with torch.enable_grad(), kernels, generators.lent():
            host = host_state()
            module.train()
            for step in range(STEPS):
                with training(draws, step):
                    loss = self._task.loss(module, batch)
                    loss.backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
            module.eval()
            with torch.no_grad(), measuring(draws, STEPS):
                self._task.measure(module, self._judged)
            self._host |= host != host_state()
        return torch.stack(losses), draws.drew or self._host

    def _stacked(
        self,
        model: Stacked,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        drew: bool,
    ) -> Tensor:
        """Return the losses [STEPS, rows] of the stacked rows."""
        draws = ModuleDraws(SEEDS, self._device, stacked=True) if drew else None
        losses = []
        gradients = {name: torch.zeros_like(value) for name, value in weights.items()}
        with torch.no_grad(), Generators(0, self._device).lent():
            for step in range(STEPS):
                with training(draws, step):
                    losses.append(
                        model.step(weights, buffers, self._batch, shared=False, gradients=gradients)
                    )
            with measuring(draws, STEPS):
                model.measure(weights, buffers, self._judged)
        return torch.stack(losses)


def _stacked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name].detach() for row in rows]) for name in rows[0]}


def _cannot_stack(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    said = shorten(lines[0], _LONGEST, placeholder=" …") if lines else type(error).__name__
    meant = next((words for sign, words in _MEANT.items() if sign in said), None)
    told = f"{meant} (torch: {said})" if meant else said
    return f"torch.func cannot stack its module: {told}"
