"""What determines a figure, as one short name: equal names promise equal digits."""

import hashlib
from functools import cache

import torch

from dsl.candidate import Candidate
from workers.protocol import NoPruner, Protocol
from workers.tasks.registry import find_task
from workers.tasks.task import Split


def platform(device: str) -> str:
    """Return what computes on a device: torch's version, the device, the instructions it uses."""
    if torch.device(device).type == "cuda":
        place = f"cuda {torch.cuda.get_device_name(device)}"
    else:
        place = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return f"torch {torch.__version__}, {place}"


def identity(task: str, candidate: Candidate, protocol: Protocol, device: str) -> str | None:
    """Return 16 hexadecimal digits for all that a figure depends on.

    That is the task's data and first weights, the rule's text with its numbers, decay, schedule
    and seeds, the whole protocol with its precision, and the platform. None under a pruner, where
    a figure also depends on what is trained beside it.

    Args:
        task: Name of a task.
        candidate: As it was proposed, so without a learning rate where the grid chooses it.
        protocol: Under which it is judged.
        device: A torch device.
    """
    if not isinstance(protocol.pruner, NoPruner):
        return None
    parts = (
        task,
        _version(task, protocol.test),
        candidate.model_dump_json(),
        protocol.model_dump_json(),
        platform(device),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _version(name: str, test: bool) -> str:
    """Return a digest of a task's data, without the test split unless it is read, and model."""
    task, digest = find_task(name), hashlib.sha256()
    splits: tuple[Split, ...] = ("train", "validation", "test") if test else ("train", "validation")
    tensors = [tensor for split in splits for tensor in task.examples(split)]
    for tensor in (*tensors, *task.initial(0).state_dict().values()):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
