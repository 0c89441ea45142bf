"""Search spaces: which values a tune job may choose, from where, and under which conditions."""

from collections.abc import Iterator, Mapping
from math import isfinite, isinf
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dsl.schema import Frozen, Real, Whole


def _value(given: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    # A union's own faults are one for each member, in an order that depends on what was imported:
    # typing remembers unions, and takes those of the same members for equal.
    try:
        return validate(given)
    except ValidationError:
        words = "must be a finite number, or a text where the choices are texts"
        raise PydanticCustomError("value", words) from None


Value = Annotated[Whole | Real | str, WrapValidator(_value)]
"""A value of a parameter; what is written without a fraction stays an integer, as a batch size."""

Values = Annotated[tuple[Value, ...], Field(min_length=1, max_length=256)]


class Conditional(Frozen):
    """What every parameter may have: the condition under which it is there at all."""

    when: Annotated[dict[str, Values], Field(max_length=8)] = {}
    """Other parameters with the values that each of them must have one of: `{"schedule":
    ["exponential"]}`. Without its condition fulfilled a parameter has no value."""


class Float(Conditional):
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


class Int(Conditional):
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


class Categorical(Conditional):
    """One of a list of values."""

    type: Literal["categorical"] = "categorical"
    choices: Values


Parameter = Annotated[Float | Int | Categorical, Field(discriminator="type")]


def in_order(space: Mapping[str, Parameter]) -> Iterator[str]:
    """Yield the parameters' names, those that a condition asks for before those that ask.

    Conditions that lead in a circle leave their parameters out.
    """
    known: set[str] = set()
    waiting = list(space)
    while ready := [name for name in waiting if space[name].when.keys() <= known]:
        yield from ready
        known.update(ready)
        waiting = [name for name in waiting if name not in known]


def is_active(parameter: Parameter, point: Mapping[str, float | str]) -> bool:
    """Return whether a parameter has a value where the others have those of `point`."""
    return all(name in point and point[name] in values for name, values in parameter.when.items())


def takes(parameter: Parameter, value: float | str) -> bool:
    """Return whether `value` is one of a parameter's."""
    if isinstance(parameter, Categorical):
        return value in parameter.choices
    if isinstance(value, str) or not parameter.low <= value <= parameter.high:
        return False
    if isinstance(parameter, Int):
        return value == int(value) and (int(value) - parameter.low) % parameter.step == 0
    if parameter.step is None:
        return True
    steps = (value - parameter.low) / parameter.step
    # More steps than a float can count lead anywhere.
    return isinf(steps) or abs(steps - round(steps)) < 1e-8


def _check_conditions(space: dict[str, Parameter]) -> dict[str, Parameter]:
    for name, parameter in space.items():
        for other, values in parameter.when.items():
            at = (name, "when", other)
            if other not in space or other == name:
                names = ", ".join(sorted(space.keys() - {name})) or "none, it stands alone"
                raise PydanticCustomError(
                    "condition",
                    "{name} depends on '{other}', which is no other parameter of the space; "
                    "allowed: {names}",
                    {"name": name, "other": other, "names": names, "at": at},
                )
            asked = space[other]
            if isinstance(asked, Float) and asked.step is None:
                raise PydanticCustomError(
                    "condition",
                    "{name} depends on {other}, which has no values that can be named; give "
                    "{other} a step, or depend on an int or a categorical",
                    {"name": name, "other": other, "at": at},
                )
            for i, value in enumerate(values):
                if not takes(asked, value):
                    raise PydanticCustomError(
                        "condition",
                        "{other} is never {value}; give a value that it can have",
                        {"other": other, "value": value, "at": (*at, i)},
                    )
    left = space.keys() - set(in_order(space))
    if left:
        names = ", ".join(sorted(left))
        raise PydanticCustomError(
            "condition",
            "the conditions of {names} lead in a circle; leave one of them out",
            {"names": names, "at": (min(left), "when")},
        )
    return space


Point = Annotated[dict[str, Value], Field(min_length=1, max_length=64)]
"""Values by the parameters' names."""


SearchSpace = Annotated[
    dict[str, Parameter],
    Field(min_length=1, max_length=64),
    AfterValidator(_check_conditions),
]
"""Parameters by name: `lr`, `weight_decay`, any hyperparameter of the rule, and, with a dot, what
`dsl.candidate` names beside these: `schedule.name`, `schedule.SETTING` for a setting of the
schedule, `weight_decay.kind` and `training.batch_size`."""


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
