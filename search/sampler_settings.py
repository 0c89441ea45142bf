"""Which sampler chooses the points of a tune job, with its settings. Part of the job's body."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dsl.schema import Frozen

Unit = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Startup = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""Random points before the sampler starts to model."""

Generation = Annotated[int, Field(strict=True, ge=2, le=4096)]
"""Points of one generation."""


class TPE(Frozen):
    """Tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127)."""

    name: Literal["tpe"] = "tpe"
    startup_trials: Startup = 10
    multivariate: bool | None = None
    """True models the parameters together, those under a condition by groups; False each alone.
    None is Optuna's choice: with one objective together but for those under a condition, with
    several each alone."""


class GP(Frozen):
    """Gaussian process, expected improvement of a batch (logEI, Ament et al. 2023).

    A point costs 0.1 s and more, growing with the cube of the trials: for some hundred trials.
    """

    name: Literal["gp"] = "gp"
    startup_trials: Startup = 10


class CMAES(Frozen):
    """Covariance matrix adaptation (Hansen & Ostermeier 2001); categorical choices are random."""

    name: Literal["cmaes"] = "cmaes"
    generation: Generation | None = None
    """None takes 4 + 3 ln(parameters), or the job's population where that is larger."""

    sigma: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] | None = None
    """First standard deviation, in parts of each parameter's range; None takes 1/6."""


class NSGA2(Frozen):
    """Genetic search by non-dominated sorting (Deb et al. 2002)."""

    name: Literal["nsga2"] = "nsga2"
    generation: Generation = 50
    crossover: Unit = 0.9
    """Probability that a child has two parents."""

    mutation: Unit | None = None
    """Probability that a child's parameter is drawn anew; None takes 1 / parameters."""


class NSGA3(Frozen):
    """NSGA-II with reference points, for three objectives and more (Deb & Jain 2014)."""

    name: Literal["nsga3"] = "nsga3"
    generation: Generation = 50
    crossover: Unit = 0.9
    mutation: Unit | None = None


class QMC(Frozen):
    """A quasi-random sequence, scrambled by the job's seed: more even than random points."""

    name: Literal["qmc"] = "qmc"
    sequence: Literal["sobol", "halton"] = "sobol"


class RandomPoints(Frozen):
    """Independent points, uniform over the space."""

    name: Literal["random"] = "random"


class Grid(Frozen):
    """Every point of a grid once, in random order; the job ends with the grid."""

    name: Literal["grid"] = "grid"
    points: Annotated[int, Field(strict=True, ge=2, le=1000)] = 10
    """Values of a float that has no step, evenly over its range (on its log scale)."""


class BruteForce(Frozen):
    """Every point of a space of choices, integers and steps once, conditions included."""

    name: Literal["brute_force"] = "brute_force"


def _as_kept(settings: Any) -> Any:
    """Take settings as jobs had them when there were two samplers, told apart by their name."""
    if not isinstance(settings, dict):
        return settings
    named = {"name": "tpe", **settings}
    if named["name"] == "random":
        named.pop("startup_trials", None)
    return named


Exhaustive = Grid | BruteForce

SamplerSettings = Annotated[
    TPE | GP | CMAES | NSGA2 | NSGA3 | QMC | RandomPoints | Grid | BruteForce,
    Field(discriminator="name"),
    BeforeValidator(_as_kept),
]
