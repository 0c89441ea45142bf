"""How much memory there is, what a computation takes of it, and how its lack shows."""

import gc
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

UNLIMITED = 1 << 62
"""Bytes, where a system does not say how many are free."""

_REFUSALS = ("can't allocate memory", "not enough memory", "std::bad_alloc", "_ALLOC_FAILED")
"""What torch's CPU allocator (on Linux and macOS, on Windows), C++ and CUDA's libraries say."""

_GROUPS = Path("/sys/fs/cgroup")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, and nothing else is wrong."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSALS)


def free_bytes(device: torch.device) -> int:
    """Return the bytes that this process may still take on a device.

    On a CPU the least of what the system has available and what the control groups leave; on a
    GPU what is free there, and what torch has reserved and does not use.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min([_available(), *_left_in_groups()])


def resident() -> int:
    """Return the bytes of memory that this process has, or 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def release(device: torch.device) -> None:
    """Give back what is no longer used, so that a smaller request may be met."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _available() -> int:
    """Return what the system could give without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return UNLIMITED
    kibibytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return UNLIMITED if kibibytes is None else 1024 * int(kibibytes)


def _left_in_groups(
    groups: Path = _GROUPS, listing: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Yield what each control group of this process (version 1 or 2) and its parents leave.

    What files hold of a group's memory counts as free: the kernel takes it back when it must.
    """
    try:
        entries = [line.split(":", 2) for line in listing.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in entries:
        if controllers == "":
            root, most, used, cached = groups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, most, used = groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            if each != groups.parent and each.is_relative_to(root):
                left = _left(each / most, each / used, each / "memory.stat", cached)
                if left is not None:
                    yield left


def _left(most: Path, used: Path, statistics: Path, cached: str) -> int | None:
    try:
        limit = most.read_text().strip()
        if limit == "max":
            return None
        numbers = dict(line.split() for line in statistics.read_text().splitlines())
        return max(0, int(limit) - int(used.read_text()) + int(numbers.get(cached, 0)))
    except (OSError, ValueError):
        return None


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that live at a time, on whatever device.

    What an operator takes for itself and gives back before it returns is not seen.

    Attributes:
        bytes: the most that lived at once so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self._now = 0
        self._held: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else torch imports its whole compiler, for seconds, only to leave this class out
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator and note what it made."""
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and each.device.type != "meta":
                self._note(each.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._held:
            return
        self._held.add(place)
        weakref.finalize(storage, self._forget, place, size).atexit = False
        self._now += size
        self.bytes = max(self.bytes, self._now)

    def _forget(self, place: int, size: int) -> None:
        self._held.discard(place)
        self._now -= size
