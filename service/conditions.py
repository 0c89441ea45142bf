"""What a tune job may search beside its rule's numbers: schedule, kind of decay, batch size.

Their names have a dot, as no hyperparameter's has.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from dsl.candidate import BATCH_SIZE, DECAY_KIND, SCHEDULE, SCHEDULE_NAME, ScheduleSpec
from optimizers.schedules import SCHEDULES
from search.space import Categorical, Parameter
from workers.protocol import LARGEST_BATCH

DECAYS = ("none", "l2", "decoupled", "paper")
"""The kinds of weight decay a job can choose from (see `dsl.candidate.Decay`)."""

NAMES = (SCHEDULE_NAME, SCHEDULE + "SETTING", DECAY_KIND, BATCH_SIZE)
"""What a space may hold beside the rule's own; SETTING stands for each setting of a schedule."""

_SAMPLED_STEPS = (0, 1, 50, 999, 1000)
"""Where a schedule is tried; the last is the run's length."""


def is_condition(name: str) -> bool:
    """Return whether a parameter of this name is none of the rule's."""
    return "." in name


def check(name: str, space: Mapping[str, Parameter], schedule: ScheduleSpec) -> None:
    """Refuse a parameter that is no condition of training, or can have values that are none.

    Args:
        name: Its name, with a dot.
        space: The job's space.
        schedule: The job's own schedule, used where the space has no `schedule.name`.

    Raises:
        PydanticCustomError: It is not allowed; `at` says where in the space.
    """
    if name == SCHEDULE_NAME:
        _check_choices(name, space[name], SCHEDULES)
    elif name == DECAY_KIND:
        _check_choices(name, space[name], DECAYS)
    elif name == BATCH_SIZE:
        _check_batch_size(space[name])
    elif name.startswith(SCHEDULE):
        _check_setting(name, space, schedule)
    else:
        names = ", ".join(NAMES)
        _refuse(f"there is no parameter '{name}'; allowed beside the rule's: {names}", name)


def try_schedule(spec: ScheduleSpec) -> None:
    """Raise ValueError or ArithmeticError if a schedule has no multiplier somewhere in a run."""
    for t in _SAMPLED_STEPS:
        SCHEDULES[spec.name](t, _SAMPLED_STEPS[-1], **spec.settings)


def _check_choices(name: str, parameter: Parameter, allowed: Collection[str]) -> None:
    if not isinstance(parameter, Categorical):
        _refuse(f"{name} is one of some names: give it type 'categorical'", name, "type")
    for i, choice in enumerate(parameter.choices):
        if choice not in allowed:
            names = ", ".join(sorted(allowed))
            _refuse(f"there is no {name} '{choice}'; allowed: {names}", name, "choices", i)


def _check_batch_size(parameter: Parameter) -> None:
    for at, value in _ends(parameter):
        if isinstance(value, str) or value != int(value) or not 1 <= value <= LARGEST_BATCH:
            words = f"whole numbers from 1 to {LARGEST_BATCH}"
            _refuse(f"{BATCH_SIZE} can be {value}; allowed: {words}", BATCH_SIZE, *at)
    if not isinstance(parameter, Categorical) and parameter.type != "int":
        _refuse(f"{BATCH_SIZE} is a whole number: give it type 'int'", BATCH_SIZE, "type")


def _check_setting(name: str, space: Mapping[str, Parameter], schedule: ScheduleSpec) -> None:
    parameter, setting = space[name], name.removeprefix(SCHEDULE)
    for at, value in _ends(parameter):
        if isinstance(value, str):
            why = f"{name} is a number, so '{value}' cannot be one of its choices; allowed: numbers"
            _refuse(why, name, *at)
        for used in _used(name, space, schedule):
            settings = {**schedule.settings} if used == schedule.name else {}
            try:
                try_schedule(ScheduleSpec(name=used, settings={**settings, setting: value}))
            except (ValueError, ArithmeticError) as error:
                remedy = f'give {name} a condition, "when": {{"{SCHEDULE_NAME}": [...]}}'
                where = (name,) if setting not in SCHEDULES[used].settings else (name, *at)
                _refuse(f"{error}; or {remedy}" if len(where) == 1 else str(error), *where)


def _used(name: str, space: Mapping[str, Parameter], schedule: ScheduleSpec) -> Iterable[str]:
    """Return the schedules with which a setting may be drawn."""
    chosen = space.get(SCHEDULE_NAME)
    if not isinstance(chosen, Categorical):
        return (schedule.name,)
    names = space[name].when.get(SCHEDULE_NAME, chosen.choices)
    return [str(each) for each in names if each in SCHEDULES]


def _ends(parameter: Parameter) -> list[tuple[tuple[str | int, ...], float | str]]:
    if isinstance(parameter, Categorical):
        return [(("choices", i), choice) for i, choice in enumerate(parameter.choices)]
    return [(("low",), parameter.low), (("high",), parameter.high)]


def _refuse(why: str, *at: str | int) -> NoReturn:
    context: dict[str, Any] = {"why": why, "at": at}
    raise PydanticCustomError("condition", "{why}", context)
