"""The generators of torch, NumPy and Python, lent to one row at a time."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class Generators:
    """The states of a row's own generators, so that what it draws depends on its seed alone."""

    def __init__(self, seed: int, device: torch.device) -> None:
        """Begin at `seed`, below 2^32."""
        self._seed, self._device = seed, device
        self._states: tuple[Any, ...] | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Have everything drawn from these generators; the process's own stay as they were."""
        cuda = self._device.type == "cuda"
        outer = np.random.get_state(), random.getstate()
        with torch.random.fork_rng([self._device] if cuda else []):
            try:
                self._enter()
                yield
            finally:
                of_device = torch.cuda.get_rng_state(self._device) if cuda else None
                own = np.random.get_state(), random.getstate()
                self._states = (torch.get_rng_state(), of_device, *own)
                np.random.set_state(outer[0])
                random.setstate(outer[1])

    def _enter(self) -> None:
        if self._states is None:
            torch.manual_seed(self._seed)
            np.random.seed(self._seed)
            random.seed(self._seed)
            return
        of_torch, of_device, of_numpy, of_python = self._states
        torch.set_rng_state(of_torch)
        if of_device is not None:
            torch.cuda.set_rng_state(of_device, self._device)
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def host_state() -> tuple[Any, ...]:
    """Return the states of NumPy's and Python's generators, to be compared."""
    of_numpy: Any = np.random.get_state(legacy=False)
    return (bytes(of_numpy["state"]["key"]), of_numpy["state"]["pos"], random.getstate())
