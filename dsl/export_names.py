"""What names exported files use, and what they call a rule's hyperparameters."""

import builtins
import keyword
from collections.abc import Mapping

from dsl.files import WIDTH, wrapped

__all__ = ["FILE_NAMES", "argument", "renamed"]

FILE_NAMES = frozenset(
    {"FLOATS", "SLOTS", "TENSORS", "advance", "changes", "cos", "draw", "each_piece", "eta", "exp"}
    | {"first", "g", "group", "lr", "jax", "jnp", "log", "math", "mean", "memory", "mix", "norm"}
    | {"normal", "now", "number", "numbers", "optax", "params", "pi", "rms", "rows", "scalars"}
    | {
        "self",
        "sign",
        "sqrt",
        "state",
        "stream",
        "t",
        "torch",
        "u",
        "uniform",
        "update",
        "values",
        "w",
    }
    | {"where", "wide", "Any", "NamedTuple", "T", "_", "__class__", *dir(builtins), *keyword.kwlist}
)
"""What the lines of exported files use otherwise: no class has such a name."""

_GROUP_NAMES = frozenset(
    {"base_momentum", "compiled", "defaults", "foreach", "initial_lr", "key", "least", "max_lr"}
    | {"max_momentum", "maximize", "min_lr", "seed", "swa_lr", "total_steps", "weight_decay"}
)
"""What the class, or torch's schedulers, keep in a parameter group."""


def renamed(keys: Mapping[str, str]) -> list[str]:
    """Return the line that gives arguments their variables, all at once: one may be another's."""
    pairs = {variable: key for key, variable in keys.items() if key != variable}
    line = f"{', '.join(pairs)} = {', '.join(pairs.values())}"
    if len(line) > WIDTH - 4:
        left, right = wrapped([*pairs], 4, "()"), wrapped([*pairs.values()], 4)
        line = f"{left} = (\n    {right})"
    return [line] * bool(pairs)


def argument(name: str) -> str:
    """Return what the class calls a hyperparameter: with `rule_` where it has another meaning."""
    meant = name in FILE_NAMES - {"eta"} or name in _GROUP_NAMES
    return f"rule_{name}" if meant or name.startswith(("__", "rule_")) else name
