"""A rule's scalars at every step at once: constants, hyperparameters and what changes in time."""

from collections.abc import Mapping
from functools import lru_cache

import torch

from dsl.functions import Functions
from dsl.operators import OPERATORS, Kind
from dsl.program import Program, Value

__all__ = ["Column", "Columns", "moments"]

Column = float | torch.Tensor
"""A scalar at every step: a float where it is constant, else [steps, 1] float64."""


@lru_cache(maxsize=64)
def moments(times: tuple[int, ...]) -> torch.Tensor:
    """Return t at every step, [steps, 1] float64; it is shared, so it is read only."""
    return torch.tensor(times, dtype=torch.float64).unsqueeze(1)


@lru_cache(maxsize=512)
def _gathered(beta: float, times: tuple[int, ...]) -> tuple[torch.Tensor, list[float]]:
    found = 1.0 - beta ** (moments(times) + 1.0)
    return found, found.flatten().tolist()


class Columns:
    """The scalars of one rule over some steps.

    Attributes:
        program: the rule.
        functions: operators, as given.
    """

    def __init__(
        self,
        program: Program,
        hyperparameters: Mapping[str, float],
        times: tuple[int, ...],
        total: float,
        functions: Functions,
    ) -> None:
        """Prepare the scalars; each is computed when it is asked for.

        Args:
            program: The rule.
            hyperparameters: A value for each of its hyperparameters.
            times: t at every step.
            total: T.
            functions: Operators, with the same now and T.
        """
        self.program, self.functions = program, functions
        self._hyperparameters = hyperparameters
        self._times, self._now = times, moments(times)
        self._total = float(total)
        self._known: dict[int, Column] = {}

    def at(self, index: int) -> Column:
        """Return a scalar value of the program's graph."""
        if index not in self._known:
            self._known[index] = self._computed(self.program.graph.values[index])
        return self._known[index]

    def steps(self, index: int) -> list[float]:
        """Return a scalar at each step."""
        value = self.at(index)
        if isinstance(value, torch.Tensor):
            found: list[float] = value.expand(self._now.shape).flatten().tolist()
            return found
        return [value] * len(self._now)

    def logarithm(self, index: int) -> float:
        """Return the logarithm of a number or hyperparameter."""
        found = self._computed(Value("log", (index,)))
        assert isinstance(found, float)
        return found

    def weights(self, average: int) -> tuple[torch.Tensor, list[float]]:
        """Return what weight a moving average has gathered at each step, 1 - prod beta.

        As [steps, 1] float64, and as a list.
        """
        beta = self.at(self.program.graph.values[average].arguments[1])
        if isinstance(beta, float):
            return _gathered(beta, self._times)
        found = 1.0 - beta.cumprod(0)
        return found, found.flatten().tolist()

    def _computed(self, value: Value) -> Column:
        if value.operator == "number":
            return value.literal
        if value.operator == "name":
            if value.name == "t":
                return self._now.clamp(max=self._total)
            return self._total if value.name == "T" else self._hyperparameters[value.name]
        arguments = [self.at(a) for a in value.arguments]
        if value.operator == "product":
            factor = torch.as_tensor(arguments[0], dtype=torch.float64)
            return factor.expand(self._now.shape).cumprod(0)
        timed = OPERATORS[value.operator].kind is Kind.TIME
        if not timed and not any(isinstance(a, torch.Tensor) for a in arguments):
            try:
                found = self.functions.of(value.operator, "float")(*arguments)
                if not isinstance(found, complex):
                    return float(found)
            except (ArithmeticError, ValueError, TypeError):  # a TypeError is complex's
                pass
        wide = [torch.as_tensor(a, dtype=torch.float64) for a in arguments]
        column: torch.Tensor = self.functions.of(value.operator, "column")(*wide)
        return column if column.ndim else float(column)
