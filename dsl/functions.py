"""The operator table's templates as Python functions: rules evaluated without being compiled."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dsl.operators import OPERATORS
from dsl.scalars import FLOAT, TENSOR

__all__ = ["Functions"]


class Functions:
    """Operators as functions of values, the names in their templates having one meaning."""

    def __init__(self, tensor: Mapping[str, Any], time: Mapping[str, Any]) -> None:
        """Give names their meaning.

        Args:
            tensor: norm, mean, rms, uniform, normal and what those take: draw, g.
            time: now, T, as float64 tensors or floats.
        """
        self._meanings: dict[str, dict[str, Any]] = {
            "tensor": {"torch": torch, **tensor},
            "float": {**FLOAT},
            "column": {**TENSOR, **time},
        }
        self._known: dict[tuple[str, str], Callable[..., Any]] = {}

    def of(self, operator: str, kind: str) -> Callable[..., Any]:
        """Return an operator's template as a function.

        It takes the arguments, then `slot` and `complement` where it keeps state, `index` where
        it is random (see `dsl.operators.Operator`).

        Args:
            operator: A row of the operator table.
            kind: What its arguments are: "tensor", "float" (constant scalars) or "column" (scalars
                that change in time, float64 tensors).
        """
        found = self._known.get((operator, kind))
        if found is None:
            found = self._known[operator, kind] = self._made(operator, kind)
        return found

    def _made(self, operator: str, kind: str) -> Callable[..., Any]:
        row = OPERATORS[operator]
        template = row.tensor if kind == "tensor" else row.scalar
        names = [f"x{i}" for i in range(row.arity)]
        if operator == "neg":
            body = "-x0"
        elif row.symbol:
            body = f"x0 {template} x1"
        else:
            written = [f"({name})" for name in names]
            body = template.format(*written, slot="slot", complement="complement", index="index")
        arguments = ", ".join([*names, "slot=None", "complement=None", "index=0"])
        # The table's own templates, never a rule's text.
        return eval(f"lambda {arguments}: {body}", self._meanings[kind])  # type: ignore[no-any-return]  # noqa: S307
