"""The part of an exported torch file that computes a step's scalars, in Python's floats.

Where floats could raise, the file holds the fallback of `dsl.compile.CompiledRule.scalars`, too:
the same lines on float64 tensors.
"""

import math
from collections.abc import Mapping

from dsl import scalars
from dsl.emit import CLAMP, Lines
from dsl.export_names import argument, renamed
from dsl.export_risk import Bounds, guarded, may_raise
from dsl.export_text import NUMBERS, REMEMBERED, WIDE
from dsl.files import called, indented, plain, words, wrapped
from dsl.operands import range_of

__all__ = ["ScalarPart"]

_FLOATS = {name: f"math.{name}" for name in ("cos", "exp", "log", "pi", "sqrt")}

_EITHER = {name: (f"math.{name}", f"torch.{name}") for name in ("cos", "exp", "log", "sqrt")}
_EITHER |= {name: (name, f"torch.{name}") for name in ("sign", "where")}
_EITHER |= {"max": ("max", "torch.maximum"), "min": ("min", "torch.minimum")}
_EITHER |= {"number": ("float", "wide")}
"""What names in guarded lines mean for floats and for tensors."""


class ScalarPart:
    """What a file needs for its scalars: assignments, functions, and the call in the class."""

    def __init__(self, lines: Lines, defaults: Mapping[str, float]) -> None:
        """Write it; `defaults` has a number for each hyperparameter."""
        bounds = {to: _range(name, defaults[name]) for name, to in lines.hyperparameters.items()}
        self._lines = lines
        self._guards = may_raise(lines.scalar_lines, bounds)
        self._code = guarded(lines.scalar_lines) if self._guards else lines.scalar_lines

    def constants(self) -> list[str]:
        """Return the assignments at the head of the file."""
        names = self._used([*_FLOATS] if not self._guards else ["pi"])
        found = [f"{', '.join(names)} = {', '.join(_FLOATS[n] for n in names)}"] * bool(names)
        if self._guards:
            found.append(WIDE)
            for i, name in enumerate(("FLOATS", "TENSORS")):
                items = [f'"{n}": {_EITHER[n][i]}' for n in self._used([*_EITHER])]
                found.append(f"{name} = {wrapped(items, len(name) + 3, '{}')}")
        return found

    def functions(self) -> list[str]:
        """Return the sources of the functions that compute scalars."""
        if not self._lines.scalars:
            return []
        keys = {argument(name): to for name, to in self._lines.hyperparameters.items()}
        names = self._used([*_EITHER]) if self._guards else []
        names += [*self._arguments("t", "T", "memory"), *keys, "**_"]
        code = ['"""Return what depends on hyperparameters and time alone."""', *renamed(keys)]
        code += [*self._code, f"return {wrapped(self._lines.scalars, 7, '[]', inset=4)}"]
        found = [f"def scalars({wrapped(names, 12)}):\n{indented(code, 4)}"]
        if self._guards:
            found.append(REMEMBERED if self._lines.recurrent else NUMBERS)
        return found

    def heads(self) -> list[str]:
        """Return the sources of the functions that the assignments name."""
        return [plain(f) for f in (scalars.sign, scalars.where) if self._used([f.__name__])]

    def call(self) -> str:
        """Return what gives the scalars in the class's loop over parameters."""
        total = 'float(group["total_steps"])' if self._uses_total() else "math.inf"
        given = self._arguments('float(state["step"])', total, 'state["memory"]')
        if self._guards:
            named = self._arguments("t=", "T=", "memory=")
            given = [f"{name}{value}" for name, value in zip(named, given, strict=True)]
        scaled = "eta" in self._lines.hyperparameters
        given.append('**{**group, "eta": group["eta"] * eta}' if scaled else "**group")
        return f"{'numbers' if self._guards else 'scalars'}({', '.join(given)})"

    def _used(self, names: list[str]) -> list[str]:
        return [name for name in names if called(name, self._code)]

    def _arguments(self, t: str, total: str, memory: str) -> list[str]:
        """Choose, of the three, what the lines use."""
        used = words("\n".join(self._code))
        return [to for name, to in (("t", t), ("T", total), ("memory", memory)) if name in used]

    def _uses_total(self) -> bool:
        return any("T" in words(line) for line in self._code if line != CLAMP)


def _range(name: str, default: float) -> Bounds:
    """Bound a hyperparameter by what makes sense for it."""
    found = range_of(name, default)
    if found is None:
        return Bounds()
    return Bounds(found.low, math.nextafter(found.high, 0) if found.open_high else found.high)
