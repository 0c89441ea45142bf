"""Optimizers that no rule can say, from maintained libraries, for single-model training.

A rule is element-wise with reductions over a tensor. What needs products of matrices (Muon, SOAP,
Shampoo, Kron), numbers of the whole model (Prodigy, D-Adaptation), another point of evaluation
(Schedule-Free) or a line search (L-BFGS) comes from `torch.optim` or `pytorch-optimizer`, which is
an optional dependency.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from re import sub
from types import MappingProxyType
from typing import Any, get_args

from torch import Tensor
from torch.optim import Optimizer

_PACKAGES = {"torch.optim": "torch", "pytorch_optimizer": "pytorch-optimizer"}


@dataclass(frozen=True)
class Option:
    """A number of an optimizer's constructor."""

    argument: str
    index: int | None
    """Its place in the argument's tuple: `beta2` is the second of `betas`."""

    default: float | None
    """None where the optimizer chooses for itself."""

    whole: bool


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

    @property
    def path(self) -> str:
        """Where it is imported from, `pytorch_optimizer.Muon`; a candidate's `rule`."""
        return f"{self.module}.{self.cls}"

    @property
    def package(self) -> str:
        """What to install: the library's name in the package index."""
        return _PACKAGES[self.module]

    def available(self) -> bool:
        """Tell whether its library is installed."""
        return find_spec(self.module) is not None

    def missing(self) -> str | None:
        """Return what to install, as a sentence; None where the library is there."""
        if self.available():
            return None
        return (
            f"'{self.name}' comes from {self.package}, which is not installed: "
            f"pip install {self.package}"
        )

    @property
    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """The constructor's arguments by name, but for `params` and `lr`.

        Raises:
            ModuleNotFoundError: Its library is not installed; so too all that is read from here.
        """
        if sentence := self.missing():
            raise ModuleNotFoundError(sentence)
        return self._arguments

    @cached_property
    def _arguments(self) -> Mapping[str, inspect.Parameter]:
        signature = inspect.signature(getattr(import_module(self.module), self.cls))
        # Libraries that take **kwargs swallow misspelt options: only what they name is taken.
        return MappingProxyType(
            {
                name: parameter
                for name, parameter in signature.parameters.items()
                if name not in ("params", "lr") and parameter.kind is not parameter.VAR_KEYWORD
            }
        )

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """The constructor's numbers by name, without `lr` and `weight_decay`; tuples one by one."""
        found: dict[str, Option] = {}
        for name, parameter in self.arguments.items():
            default = parameter.default
            if name == "weight_decay":
                continue
            if isinstance(default, tuple) and default and all(map(_is_number, default)):
                whole = all(isinstance(value, int) for value in default)
                for i, value in enumerate(default):
                    found[_singular(name, i + 1)] = Option(name, i, float(value), whole)
            elif _is_number(default):
                found[name] = Option(name, None, float(default), parameter.annotation is int)
            elif default is None and float in get_args(parameter.annotation):
                found[name] = Option(name, None, None, False)
        return MappingProxyType(found)

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The options that have a finite default, with it."""
        return {
            name: option.default
            for name, option in self.options.items()
            if option.default is not None and isfinite(option.default)
        }

    @property
    def weight_decay(self) -> float | None:
        """The default λ; None where the optimizer has no weight decay."""
        parameter = self.arguments.get("weight_decay")
        return None if parameter is None else float(parameter.default)

    def valued(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Return the constructor's arguments that say these options.

        Raises:
            ValueError: There is no such option, or a whole number is not whole.
        """
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self.options:
                allowed = ", ".join(sorted(self.options)) or "none"
                raise ValueError(f"'{self.name}' has no option '{name}'; allowed: {allowed}")
            option = self.options[name]
            if option.whole and not float(value).is_integer():
                raise ValueError(f"{name} = {value:g}, but it must be a whole number")
            number = int(value) if option.whole else float(value)
            if option.index is None:
                given[option.argument] = number
            else:
                before = given.get(option.argument, self.arguments[option.argument].default)
                changed = list(before)
                changed[option.index] = number
                given[option.argument] = tuple(changed)
        return given


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


def find_library(path: str) -> LibraryEntry:
    """Return the entry that is imported from `path`, say `pytorch_optimizer.Muon`.

    Raises:
        ValueError: There is none.
    """
    for entry in LIBRARY.values():
        if entry.path == path:
            return entry
    allowed = ", ".join(sorted(entry.path for entry in LIBRARY.values()))
    raise ValueError(f"there is no library optimizer '{path}'; allowed: {allowed}")


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
    allowed = entry.arguments
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"'{name}' has no option '{option}'; allowed: {', '.join(sorted(allowed))}"
            )
    cls = getattr(import_module(entry.module), entry.cls)
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _singular(name: str, index: int) -> str:
    """Return the name of a tuple's element: `betas` → `beta1`, `betas_1d` → `beta1_1d`."""
    return sub(r"s(_1d)?$", rf"{index}\1", name)
