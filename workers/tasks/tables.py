"""The data sets that come with scikit-learn, read without it.

Importing scikit-learn takes as long as importing torch, half of what a worker needs to get ready.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor


def table(name: str, *, delimiter: str | None = ",", header: int = 0) -> Tensor:
    """Return the numbers of a file of `sklearn/datasets/data`, float64 [rows, columns].

    A file of one column gives [rows].

    Args:
        name: of the file.
        delimiter: between columns; None for blanks.
        header: lines to leave out at the top.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
        FileNotFoundError: it has no such file.
    """
    import numpy as np

    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"the data {name!r} come with scikit-learn, which is not installed; install it "
            "(`make setup` does)"
        )
    path = Path(spec.origin).parent / "datasets" / "data" / name
    return torch.from_numpy(np.loadtxt(path, delimiter=delimiter, skiprows=header))
