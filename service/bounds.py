"""Which numbers are worth a job: ranges of parameters, repeated values, an objective's sense."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import ulp

from dsl.operands import Range, range_of
from search.samplers import size
from search.settings import Objective
from search.space import Categorical, Float, Parameter, is_active, takes
from search.warm_start import LEARNING, fits
from service.jobs import MOST_ENQUEUED, Comparison, DiscoverJob, TuneJob
from service.refusals import Fault
from workers.protocol import AnyPruner, Hyperband, MedianStopping, NoPruner, Scheduled
from workers.pruning import fewest, rungs

LARGEST = 1e6
"""No training number is larger: the search paper's learning rates end at 10."""

MOST_POINTS = 100_000
"""No exhaustive sampler tries more."""

MAX_SHOWN = 60
"""Characters of a value that a sentence repeats."""

_RANGES = {
    "lr": Range(0.0, LARGEST, f"0 to {LARGEST:g}"),
    "weight_decay": Range(0.0, LARGEST, f"0 to {LARGEST:g}"),
}
_SENSES = {
    "loss": "minimize",
    "distance": "minimize",
    "accuracy": "maximize",
    "r2": "maximize",
    "seconds": "minimize",
    "steps": "minimize",
    "step": "minimize",
    "slots": "minimize",
}
"""Which direction is better, by the last word of a metric's name."""


def of_objective(job: TuneJob | DiscoverJob) -> Iterator[Fault]:
    """Yield the fault of a direction that looks for the worst."""
    several = job.objectives if isinstance(job, TuneJob) else ()
    named: dict[tuple[str | int, ...], Objective] = {("objective",): job.objective}
    if several:
        named = {("objectives", i): each for i, each in enumerate(several)}
    for where, objective in named.items():
        better = _SENSES.get(objective.metric.rpartition("_")[2])
        if better is not None and better != objective.direction:
            yield (
                (*where, "direction"),
                f"to {objective.direction} {objective.metric} is to look for the worst; "
                f"set direction to '{better}'",
            )


def of_objectives(job: TuneJob) -> Iterator[Fault]:
    """Yield the faults of several objectives: that they repeat, that nothing searches them."""
    if len(job.objectives) < 2:
        return
    yield from (
        (("objectives", *at), why)
        for at, why in _repeated([objective.metric for objective in job.objectives])
    )
    if job.sampler.name == "cmaes":
        why = "cmaes knows one objective; choose tpe, gp, nsga2, nsga3 or another sampler"
        yield ("sampler", "name"), why
    if job.pruner.name != "none":
        why = "a pruner compares trials by one objective; leave it out, or the other objectives"
        yield ("pruner", "name"), why


def of_pruner(job: TuneJob) -> Iterator[Fault]:
    """Yield the faults of a pruner that would stop nothing, or wants another population."""
    name = job.pruner.name
    if isinstance(job.pruner, Scheduled) and job.population not in (None, 1):
        why = f"{name} compares trials that are each trained by itself; leave it out"
        yield ("population",), why
    elif job.population is not None and job.population < (
        least := fewest(job.pruner, job.budget.steps, rivals=2)
    ):
        why = f"{name} compares trials that are trained together; give {least} or more"
        yield ("population",), f"{why}, or leave it out"
    yield from of_rungs(job.pruner, job.budget.steps, "pruner")
    few = isinstance(job.pruner, MedianStopping) and job.pruner.min_trials >= job.budget.trials
    if few and isinstance(job.pruner, MedianStopping):
        told = f"it waits for {job.pruner.min_trials} other trials, of {job.budget.trials} in all"
        yield ("pruner", "min_trials"), f"{told}, so none is stopped; give fewer"


def of_rungs(pruner: AnyPruner, steps: int, *at: str) -> Iterator[Fault]:
    """Yield the fault of a pruner that lets runs of `steps` come to their end; it stands `at`."""
    if isinstance(pruner, NoPruner) or rungs(pruner, steps):
        return
    most = steps // pruner.reduction if isinstance(pruner, Hyperband) else steps - 1
    told = f"min_steps is {pruner.min_steps} and a run has {steps} steps, so {pruner.name} stops"
    remedy = f"give at most {most}, or more steps" if most else "give more steps"
    yield (*at, "min_steps"), f"{told} none; {remedy}"


def of_rates(rates: Sequence[float], stage: str) -> Iterator[Fault]:
    """Yield the faults of the grid of learning rates of `protocol` or `comparison`."""
    where = (stage, "learning_rates")
    yield from ((where + at, why) for at, why in _repeated(rates))
    for i, rate in enumerate(rates):
        if rate > LARGEST:
            yield (*where, i), f"the learning rate is {rate:g}; allowed: up to {LARGEST:g}"


def of_baselines(comparison: Comparison) -> Iterator[Fault]:
    """Yield the faults of a comparison that would run a baseline twice."""
    for at, why in _repeated(comparison.baselines):
        yield ("comparison", "baselines", *at), why


def of_steps(space: Mapping[str, Parameter]) -> Iterator[Fault]:
    """Yield the faults of steps that are wider than the range, or finer than its numbers lie.

    No sampler can search such a space, nor can it be asked whether a point lies in it.
    """
    for name, parameter in space.items():
        if isinstance(parameter, Categorical) or parameter.step is None:
            continue
        where, low, high = ("space", name, "step"), parameter.low, parameter.high
        told = f"the step is {_brief(parameter.step)}"
        # In decimals, as written: in binary 0.3 - 0.1 is less than 0.2.
        width = Decimal(str(high)) - Decimal(str(low))
        if Decimal(str(parameter.step)) > width:
            yield (
                where,
                f"{told}, which from {low:g} leads beyond {high:g}; allowed: up to {width:g}, or "
                "leave step out",
            )
            continue
        finest = ulp(max(abs(low), abs(high)))
        if isinstance(parameter, Float) and parameter.step < finest:
            yield (
                where,
                f"{told}, less than what tells numbers from {low:g} to {high:g} apart; allowed: "
                f"from {finest} to {width:g}, or leave step out",
            )


def _brief(number: float) -> str:
    """Return a number's digits, in short where they are many: integers may be beyond floats."""
    digits = f"{number}"
    return digits if len(digits) <= MAX_SHOWN else f"{digits[:MAX_SHOWN]}..."


def of_sampler(job: TuneJob) -> Iterator[Fault]:
    """Yield the faults of a sampler that cannot search the job's space."""
    name = job.sampler.name
    if name == "grid":
        for parameter in (each for each in job.space if job.space[each].when):
            why = "a grid knows no conditions; leave this out, or set the sampler to 'brute_force'"
            yield ("space", parameter, "when"), why
    try:
        points = size(job.sampler, job.space)
    except ValueError as error:
        yield ("sampler", "name"), f"{error}, or choose another sampler"
        return
    if points is not None and points > MOST_POINTS:
        remedy = "give fewer values or larger steps, or choose another sampler"
        yield (
            ("sampler", "name"),
            f"{name} would try {points:,} points; allowed: up to {MOST_POINTS:,}; {remedy}",
        )


def of_points(job: TuneJob) -> Iterator[Fault]:
    """Yield the faults of points that a job wants tried, which must lie in its space."""
    if job.enqueue and job.sampler.name in ("grid", "brute_force"):
        yield ("enqueue",), f"{job.sampler.name} tries every point anyway; leave enqueue out"
    if len(job.enqueue) > MOST_ENQUEUED:
        told = f"a job would have {len(job.enqueue)} points to try"
        yield ("enqueue",), f"{told}; allowed: at most {MOST_ENQUEUED} in all"
    if len(job.enqueue) > job.budget.trials:
        told = f"{len(job.enqueue)} points are more than the budget of {job.budget.trials} trials"
        yield ("enqueue",), f"{told}; leave some out or raise the budget"
    for i, point in enumerate(job.enqueue):
        for name, value in point.items():
            where = ("enqueue", i, name)
            parameter = job.space.get(name)
            if parameter is None:
                yield where, f"the space has no '{name}'; allowed: {', '.join(sorted(job.space))}"
            elif not takes(parameter, value):
                shown = str(value)[:MAX_SHOWN] + "..." * (len(str(value)) > MAX_SHOWN)
                yield where, f"{name} cannot be {shown}; allowed: {_words(parameter)}"
            elif not is_active(parameter, point):
                asked = ", ".join(sorted(parameter.when))
                yield where, f"{name} depends on {asked}; give the point a value it asks for"


def of_warm_start(job: TuneJob) -> Iterator[Fault]:
    """Yield the faults of trials that the sampler cannot learn from."""
    if job.warm_start is None:
        return
    if job.sampler.name not in LEARNING:
        names = ", ".join(LEARNING)
        why = f"{job.sampler.name} learns nothing from trials it did not ask for; allowed: {names}"
        yield ("warm_start",), why
    for i, trial in enumerate(job.warm_start.trials):
        if missing := {*job.figures} - trial.figures.keys() if trial.value is not None else ():
            names = ", ".join(sorted(missing))
            yield ("warm_start", "trials", i, "figures"), f"{names} must be there; add what is"
        if not fits(trial, job.space):
            names = ", ".join(job.space)
            why = f"the point is none of the space's, whose parameters are {names}; leave it out"
            yield ("warm_start", "trials", i), why


def _words(parameter: Parameter) -> str:
    if isinstance(parameter, Categorical):
        return ", ".join(f"{choice}" for choice in parameter.choices)
    steps = f" in steps of {parameter.step:g}" if (parameter.step or 1) != 1 else ""
    kind = "whole numbers " if parameter.type == "int" else ""
    return f"{kind}from {parameter.low:g} to {parameter.high:g}{steps}"


def of_space(space: Mapping[str, Parameter], defaults: Mapping[str, float]) -> Iterator[Fault]:
    """Yield the faults of what a space lets its parameters be.

    Args:
        space: The search space.
        defaults: The rule's hyperparameters with their defaults.
    """
    for name, parameter in space.items():
        allowed = _RANGES.get(name)
        if allowed is None and name in defaults:
            allowed = range_of(name, defaults[name])
        for at, value in _ends(parameter):
            where = ("space", name, *at)
            if abs(value) > LARGEST:
                yield where, f"{name} can be {value:g}; allowed: from {-LARGEST:g} to {LARGEST:g}"
            elif allowed is not None and value not in allowed:
                yield where, f"{name} can be {value:g}; allowed: {allowed.words}"
        if isinstance(parameter, Categorical):
            for found, why in _repeated(parameter.choices):
                yield ("space", name, "choices", *found), why


def _ends(parameter: Parameter) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Yield the extreme values of a parameter with where they are said."""
    if isinstance(parameter, Categorical):
        for i, choice in enumerate(parameter.choices):
            if not isinstance(choice, str):
                yield ("choices", i), choice
    else:
        yield ("low",), parameter.low
        yield ("high",), parameter.high


def _repeated(values: Sequence[float | str]) -> Iterator[tuple[tuple[int], str]]:
    first: dict[float | str, int] = {}
    for i, value in enumerate(values):
        if first.setdefault(value, i) != i:
            shown = value if isinstance(value, str) else f"{value:g}"
            yield (i,), f"{shown} is there already, at index {first[value]}; leave this one out"
