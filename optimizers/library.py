"""Optimizers that no rule can say, from maintained libraries, for single-model training.

A rule is element-wise with reductions over a tensor. What needs products of matrices (Muon, SOAP,
Shampoo, Kron), numbers of the whole model (Prodigy, D-Adaptation), another point of evaluation
(Schedule-Free) or a line search (L-BFGS) comes from `torch.optim` or `pytorch-optimizer`, which is
an optional dependency.
"""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

_PACKAGES = {"torch.optim": "torch", "pytorch_optimizer": "pytorch-optimizer"}


@dataclass(frozen=True)
class LibraryEntry:
    """An optimizer of another library."""

    name: str
    module: str
    """`torch.optim` or `pytorch_optimizer`."""

    cls: str
    lr: float
    paper: str
    split: bool = False
    """It takes matrices (and more dimensions) by itself and the rest by AdamW."""

    closure: bool = False
    """`step` needs a closure that evaluates the model again."""

    modes: bool = False
    """Call `optimizer.train()` before training and `optimizer.eval()` before evaluation."""

    note: str = ""

    def available(self) -> bool:
        """Tell whether its library is installed."""
        try:
            import_module(self.module)
        except ModuleNotFoundError:
            return False
        return True


def _torch(name: str, cls: str, lr: float, paper: str, **rest: Any) -> LibraryEntry:
    return LibraryEntry(name, "torch.optim", cls, lr, paper, **rest)


def _other(name: str, cls: str, lr: float, paper: str, **rest: Any) -> LibraryEntry:
    return LibraryEntry(name, "pytorch_optimizer", cls, lr, paper, **rest)


LIBRARY: dict[str, LibraryEntry] = {
    entry.name: entry
    for entry in (
        _torch("adafactor", "Adafactor", 0.01, "Shazeer & Stern 2018, arXiv:1804.04235"),
        _torch("adamax", "Adamax", 2e-3, "Kingma & Ba 2015, arXiv:1412.6980, section 7.1"),
        _torch("asgd", "ASGD", 0.01, "Polyak & Juditsky 1992"),
        _torch("rprop", "Rprop", 0.01, "Riedmiller & Braun 1993", note="Full batches only."),
        _torch("lbfgs", "LBFGS", 1.0, "Liu & Nocedal 1989", closure=True),
        _torch(
            "muon_matrices",
            "Muon",
            1e-3,
            "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
            note="Two-dimensional parameters only; muon takes whole models.",
        ),
        _other(
            "muon",
            "Muon",
            0.02,
            "Jordan et al. 2024, kellerjordan.github.io/posts/muon",
            split=True,
            note="Vectors are trained by AdamW (adamw_lr, adamw_betas, adamw_wd).",
        ),
        _other("soap", "SOAP", 3e-3, "Vyas et al. 2024, arXiv:2409.11321"),
        _other("shampoo", "ScalableShampoo", 1e-3, "Gupta et al. 2018, arXiv:1802.09568"),
        _other("kron", "Kron", 1e-3, "Li 2018, arXiv:1512.04202 (PSGD)"),
        _other("prodigy", "Prodigy", 1.0, "Mishchenko & Defazio 2023, arXiv:2306.06101"),
        _other("d_adapt_adam", "DAdaptAdam", 1.0, "Defazio & Mishchenko 2023, arXiv:2301.07733"),
        _other("mars", "MARS", 3e-3, "Yuan et al. 2024, arXiv:2411.10438"),
        _other(
            "schedule_free_adamw",
            "ScheduleFreeAdamW",
            2.5e-3,
            "Defazio et al. 2024, arXiv:2405.15682",
            modes=True,
        ),
        _other(
            "schedule_free_sgd",
            "ScheduleFreeSGD",
            1.0,
            "Defazio et al. 2024, arXiv:2405.15682",
            modes=True,
        ),
    )
}
"""Name → entry; no name is also in the catalogue."""


def library_optimizer(
    name: str, params: Iterable[Tensor], lr: float | None = None, **options: Any
) -> Optimizer:
    """Return the optimizer `name` over `params`.

    Raises:
        ValueError: There is no such optimizer or option, or `muon_matrices` is given another shape.
        ModuleNotFoundError: Its library is not installed.
    """
    if name not in LIBRARY:
        raise ValueError(f"there is no optimizer '{name}'; allowed: {', '.join(sorted(LIBRARY))}")
    entry = LIBRARY[name]
    if not entry.available():
        package = _PACKAGES[entry.module]
        raise ModuleNotFoundError(
            f"'{name}' comes from {package}, which is not installed: pip install {package}"
        )
    cls = getattr(import_module(entry.module), entry.cls)
    # Libraries that take **kwargs swallow misspelt options: refuse what they do not name.
    allowed = [
        option
        for option, parameter in inspect.signature(cls).parameters.items()
        if option not in ("params", "lr") and parameter.kind is not parameter.VAR_KEYWORD
    ]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"'{name}' has no option '{option}'; allowed: {', '.join(sorted(allowed))}"
            )
    params = list(params)
    groups: list[Any] = params
    if entry.split:
        groups = [
            {"params": [p for p in params if (p.ndim >= 2) is matrices], "use_muon": matrices}
            for matrices in (True, False)
        ]
        groups = [group for group in groups if group["params"]]
    optimizer = cls(groups, lr=entry.lr if lr is None else lr, **options)
    assert isinstance(optimizer, Optimizer)
    return optimizer
