"""Search spaces: which numbers a tune job may choose, and from where."""

from math import isfinite
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dsl.schema import Frozen, Real, Whole


class Float(Frozen):
    """A real number in [low, high], on a log scale or in steps if asked."""

    type: Literal["float"] = "float"
    low: Real
    high: Real
    log: bool = False
    step: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step)
        return self


class Int(Frozen):
    """An integer in [low, high]."""

    type: Literal["int"] = "int"
    low: Whole
    high: Whole
    log: bool = False
    step: Annotated[int, Field(strict=True, ge=1)] = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step if self.step > 1 else None)
        return self


class Categorical(Frozen):
    """One of a list of values."""

    type: Literal["categorical"] = "categorical"
    choices: Annotated[tuple[Real | str, ...], Field(min_length=1, max_length=256)]


Parameter = Annotated[Float | Int | Categorical, Field(discriminator="type")]

SearchSpace = Annotated[dict[str, Parameter], Field(min_length=1, max_length=64)]
"""Parameters by name: `lr`, `weight_decay`, or any hyperparameter of the rule."""


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    # `at` says which field a fault is about: pydantic places it at the parameter as a whole.
    if low >= high:
        raise PydanticCustomError(
            "range",
            "low is {low} and high is {high}: low must be less than high",
            {"low": low, "high": high, "at": ("low",)},
        )
    if not isfinite(float(high) - float(low)):
        raise PydanticCustomError(
            "wide_range",
            "low is {low} and high is {high}: high - low is more than a number can hold",
            {"low": low, "high": high, "at": ("high",)},
        )
    if log and low <= 0:
        raise PydanticCustomError(
            "log_range",
            "low is {low} on a log scale: it must be greater than 0; raise low or set log to false",
            {"low": low, "at": ("low",)},
        )
    if log and step is not None:
        raise PydanticCustomError(
            "log_step",
            "log and step exclude each other: set log to false or leave step out",
            {"at": ("step",)},
        )
