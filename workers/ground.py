"""What all stacks of a population share: the task, its data, model and layout."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from dsl.candidate import Candidate
from workers.batches import Data
from workers.layout import Layout
from workers.module_draws import ModuleDraws
from workers.precision import in_precision
from workers.protocol import Protocol
from workers.stacking import held, stack_task, trained
from workers.tasks.task import Task
from workers.trial_step import Finding, failed_later, try_step


class Ground:
    """What all stacks of a population share: the task, its data, model and layout."""

    def __init__(self, task: Task, protocol: Protocol, device: str, dtype: torch.dtype) -> None:
        """Prepare `task` on a device and in a precision."""
        self.protocol, self.dtype = protocol, dtype
        self.device = torch.device(device)
        self.task = in_precision(task, protocol.precision, self.device.type)
        self.data = Data(task, self.device, dtype)
        self.model = stack_task(self.task)
        module = task.initial(0)
        self.layout, self.buffered = Layout(module), bool(held(module))

    @cached_property
    def finding(self) -> Finding:
        """What a tried step tells of the task's module.

        Raises:
            Exception: whatever the task itself raises in an ordinary step.
        """
        return try_step(self.task, self.model, self.data, self.protocol.batch_size)

    def stop_stacking(self, error: Exception) -> None:
        """Have what is begun from now on trained one by one, for a stack raised `error`."""
        self.finding = failed_later(self.task, self.data, self.protocol.batch_size, error)

    def obstacle(self, candidate: Candidate) -> str | None:
        """Return why the candidate has to be trained by itself; None where it is stacked."""
        if candidate.imported:
            return "its optimizer, which is no rule, takes one model at a time"
        return self.finding.obstacle

    def draws(self, seeds: Sequence[int], *, stacked: bool) -> ModuleDraws | None:
        """Return the module's own draws for rows with these seeds.

        None if it has none, or if it cannot be stacked: torch's generator then draws for each row.
        """
        if not self.finding.draws or self.finding.obstacle:
            return None
        return ModuleDraws(seeds, self.device, stacked=stacked)

    def initial(self, seeds: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the rows' first weights [rows, width] and buffers by name, [rows, *shape]."""
        distinct = sorted(set(seeds))
        modules = [self.task.initial(seed).to(self.device, self.dtype) for seed in distinct]
        place = torch.tensor([distinct.index(seed) for seed in seeds], device=self.device)
        packed = torch.stack([self.layout.pack(trained(each)) for each in modules])
        fixed = [held(each) for each in modules]
        buffers = {name: torch.stack([each[name] for each in fixed])[place] for name in fixed[0]}
        return packed[place], buffers
