"""What a population is refused for before it is trained."""

from collections.abc import Sequence
from typing import Any

import torch

from dsl.candidate import Candidate
from workers.memory import out_of_memory
from workers.protocol import Protocol
from workers.rows import check_decay
from workers.tasks.task import Task


def check_candidates(candidates: Sequence[Candidate]) -> None:
    """Refuse learning rates that are missing or below 0, and weight decays that no rule has.

    Raises:
        ValueError: with the candidate's number.
    """
    for number, each in enumerate(candidates):
        if each.lr is None:
            raise ValueError(
                f"candidate {number} names no learning rate; train_population needs one"
            )
        if each.lr < 0:
            told = f"candidate {number} has the learning rate {each.lr:g}"
            raise ValueError(f"{told}; give 0 or more")
        if not each.imported:
            try:
                check_decay(each)
            except ValueError as error:
                raise ValueError(f"candidate {number}: {error}") from None


def check_settings(
    protocol: Protocol, dtype: torch.dtype, points: int, families: int, candidates: int
) -> None:
    """Refuse a precision that does not go with `dtype`, and numbers that do not fit.

    Raises:
        ValueError: with the value and what is allowed.
    """
    if protocol.precision == "bfloat16" and dtype != torch.float32:
        raise ValueError(f"precision 'bfloat16' goes with dtype torch.float32 alone, not {dtype}")
    if points < 1:
        raise ValueError(f"points is {points}, but a curve has at least 1, its end")
    if families != candidates:
        raise ValueError(
            f"families has {families} numbers for {candidates} candidates; give one for each"
        )


def check_place(task: Task, device: str) -> None:
    """Refuse a device that torch cannot use, and a task that has nothing to train.

    Raises:
        ValueError: with what to do.
    """
    hashed: Any = type(task).__hash__
    if hashed is None:
        raise ValueError(
            f"the task {task.name!r} cannot be told from others: its class {type(task).__name__} "
            "defines __eq__ and no __hash__, as a dataclass does; write @dataclass(eq=False)"
        )
    try:
        torch.zeros(1, device=device)
    except (AssertionError, RuntimeError) as error:  # what torch raises without CUDA, and else
        if out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {device!r} cannot be used, try 'cpu': {reason}") from None
    if not any(value.requires_grad for value in task.initial(0).parameters()):
        raise ValueError(
            f"the module of the task {task.name!r} has no parameter that requires a gradient, so "
            "there is nothing to train"
        )
