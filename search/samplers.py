"""Optuna's samplers for what a job's settings say, made to search rebuilt from its rows."""

import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import log, prod
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from search.ledger import derived_seed
from search.sampler_settings import (
    CMAES,
    GP,
    NSGA2,
    NSGA3,
    QMC,
    TPE,
    BruteForce,
    Grid,
    SamplerSettings,
)
from search.space import Categorical, Float, Int, Parameter, in_order, is_active

Distributions = Mapping[str, BaseDistribution]


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution of a parameter.

    A `high` that no whole number of steps reaches is lowered to the last value that one does.
    """
    match parameter:
        case Float(low=low, high=high, log=log, step=step):
            if step is not None:
                # In decimals, as written: in binary 0.1 + 6 * 0.1 is not 0.7.
                first, width = Decimal(str(low)), Decimal(str(step))
                high = float(first + (Decimal(str(high)) - first) // width * width)
            return FloatDistribution(low, high, log=log, step=step)
        case Int(low=low, high=high, log=log, step=step):
            high = low + (high - low) // step * step
            return IntDistribution(low, high, log=log, step=step)
        case Categorical(choices=choices):
            return CategoricalDistribution(choices)


class _ExactCmaEs(CmaEsSampler):
    """CMA-ES whose state, kept as bytes, is decided by the search alone."""

    def _init_optimizer(self, *arguments: Any, **named: Any) -> Any:
        optimizer = super()._init_optimizer(*arguments, **named)
        # Its history of values begins as whatever the memory held.
        optimizer._funhist_values[:] = 0.0
        return optimizer


class _EndlessGrid(GridSampler):
    """A grid whose end is the strategy's budget: Optuna's stops a loop that there is none of."""

    def after_trial(self, *_: Any) -> None:
        """Do nothing."""


class _EndlessBruteForce(BruteForceSampler):
    """The same for all points."""

    def after_trial(self, *_: Any) -> None:
        """Do nothing."""


def sampler_of(
    settings: SamplerSettings, space: Distributions, seed: int, number: int, population: int
) -> BaseSampler:
    """Return a fresh sampler for the trials from `number` on.

    Args:
        settings: Which one.
        space: The distributions of all parameters.
        seed: The job's seed.
        number: The first trial's number; with `seed` it decides all draws, so that no generator's
            state is kept between calls.
        population: How many points are asked at once.
    """
    drawn = derived_seed(seed, number)
    with warnings.catch_warnings():
        # Brute force and TPE's groups are called experimental; nothing else of theirs is used.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match settings:
            case TPE(startup_trials=startup, multivariate=together):
                return TPESampler(
                    seed=drawn,
                    n_startup_trials=startup,
                    multivariate=together,
                    group=together is True,
                )
            case GP(startup_trials=startup):
                return GPSampler(
                    seed=drawn, n_startup_trials=startup, warn_independent_sampling=False
                )
            case CMAES():
                return _cmaes(settings, space, drawn, population)
            case NSGA2() | NSGA3():
                kind = NSGAIISampler if isinstance(settings, NSGA2) else NSGAIIISampler
                return kind(
                    population_size=settings.generation,
                    crossover_prob=settings.crossover,
                    mutation_prob=settings.mutation,
                    seed=drawn,
                )
            case QMC(sequence=sequence):
                # One sequence for the whole job: its place in it is the trial's memo.
                return QMCSampler(
                    qmc_type=sequence, scramble=True, seed=seed, warn_independent_sampling=False
                )
            case Grid(points=points):
                return _EndlessGrid({name: values(space[name], points) for name in space}, seed)
            case BruteForce():
                return _EndlessBruteForce(seed=drawn)
    return RandomSampler(seed=drawn)


def _cmaes(settings: CMAES, space: Distributions, seed: int, population: int) -> BaseSampler:
    own = 4 + int(3 * log(max(1, len(space))))
    return _ExactCmaEs(
        seed=seed,
        popsize=settings.generation or max(own, population),
        sigma0=settings.sigma,
        consider_pruned_trials=True,
        warn_independent_sampling=False,
    )


def values(distribution: BaseDistribution, points: int) -> Sequence[Any]:
    """Return a parameter's values on a grid: all it can have, or `points` of them if more."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices
        case IntDistribution(low=low, high=high, step=step, log=on_log):
            count = (high - low) // step + 1
            if count <= points:
                return range(low, high + 1, step)
            indices = (_spread(low, high, points, on_log) - low) / step
            return sorted({low + step * min(count - 1, round(index)) for index in indices})
        case FloatDistribution(low=low, high=high, step=None, log=on_log):
            return [float(value) for value in _spread(low, high, points, on_log)]
        case FloatDistribution(low=low, high=high, step=float(step)):
            count = round((high - low) / step) + 1
            chosen = range(count) if count <= points else np.linspace(0, count - 1, points)
            return [min(high, low + round(i) * step) for i in chosen]
    raise ValueError(f"there is no grid over {distribution}")


def _spread(low: float, high: float, points: int, on_log: bool) -> np.ndarray:
    spread = np.geomspace if on_log else np.linspace
    return np.clip(spread(low, high, points), low, high)


def size(settings: SamplerSettings, space: Mapping[str, Parameter]) -> int | None:
    """Return how many points an exhaustive sampler tries in all; None for the other samplers.

    Raises:
        ValueError: brute force over a parameter that has no end of values.
    """
    match settings:
        case Grid(points=points):
            return prod(len(values(distribution(each), points)) for each in space.values())
        case BruteForce():
            return _leaves(space, tuple(in_order(space)), {})
    return None


def _leaves(space: Mapping[str, Parameter], names: Sequence[str], point: dict[str, Any]) -> int:
    """Count the points that begin with `point` and go on with the parameters `names`."""
    total = 1
    for i, name in enumerate(names):
        parameter = space[name]
        if not is_active(parameter, point):
            continue
        asked = [values for each in space.values() for values in (each.when.get(name),) if values]
        if not asked:
            total *= _count(name, parameter)
            continue
        named = {value for values in asked for value in values}
        rest = names[i + 1 :]
        others = _count(name, parameter) - len(named)
        counted = [_leaves(space, rest, {**point, name: value}) for value in named]
        return total * (sum(counted) + others * _leaves(space, rest, {**point, name: None}))
    return total


def _count(name: str, parameter: Parameter) -> int:
    if isinstance(parameter, Categorical):
        return len(set(parameter.choices))
    if parameter.step is None:
        raise ValueError(
            f"brute force tries every value, and {name} has no end of them; give it a step"
        )
    return int((parameter.high - parameter.low) / parameter.step + 1e-8) + 1
