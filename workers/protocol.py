"""How a candidate is judged: steps, learning-rate grid, seeds, early stopping."""

from typing import Annotated, Literal

from pydantic import Field

from dsl.candidate import Stage
from dsl.figures import Constraint
from dsl.schema import Frozen, Precision

MOST_STEPS = 1_000_000
Steps = Annotated[int, Field(strict=True, ge=1, le=MOST_STEPS)]
LARGEST_BATCH = 65_536
BatchSize = Annotated[int, Field(strict=True, ge=1, le=LARGEST_BATCH)]
LearningRate = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]

GRID: tuple[float, ...] = tuple(10.0**k for k in range(-5, 2))
"""The learning rates of Bello et al. 2017, section 4: 10^-5 … 10^1."""

FINE_GRID: tuple[float, ...] = tuple(float(f"{10 ** (k / 3):.3g}") for k in range(-15, 4))
"""Three rates per decade over the same range, for comparisons: with one per decade a rule that
scales its update by a constant, such as e, may win only because the grid misses its neighbours."""


class TaskSpec(Frozen):
    """A task by name (see `workers.tasks`)."""

    name: str


class NoPruner(Frozen):
    """Every row runs to the end."""

    name: Literal["none"] = "none"


class SuccessiveHalving(Frozen):
    """At each rung only the best 1/reduction of a population's rows go on.

    Jamieson & Talwalkar 2016, applied inside one population.
    """

    name: Literal["successive_halving"] = "successive_halving"
    reduction: Annotated[int, Field(strict=True, ge=2, le=16)] = 3
    min_steps: Steps = 30
    """The first rung; the next ones are at min_steps · reduction^k."""


class Hyperband(Frozen):
    """Successive halving from several first rungs, so that late starters have a chance too.

    A population's rows are divided into brackets; those of each are compared among themselves,
    and those of the last run to the end. Li et al. 2018 (JMLR 18), Algorithm 1, with as many rows
    in each bracket, in proportion, as there.
    """

    name: Literal["hyperband"] = "hyperband"
    reduction: Annotated[int, Field(strict=True, ge=2, le=16)] = 3
    min_steps: Steps = 30
    """The first rung of the first bracket is the least steps / reduction^k that is no less."""


class Asha(Frozen):
    """Asynchronous successive halving of all trials of a job (Li et al. 2020), by Ray Tune.

    Each trial is a population of its own, so that it is compared with all that came before: for
    optimizers and modules that are not stacked. A job that goes on after a pause compares anew.
    """

    name: Literal["asha"] = "asha"
    reduction: Annotated[int, Field(strict=True, ge=2, le=16)] = 3
    min_steps: Steps = 30
    """The first rung; the next ones are at min_steps · reduction^k."""


class MedianStopping(Frozen):
    """Stop a trial whose best is worse than the median of the others' means, by Ray Tune.

    Golovin et al. 2017 (Vizier), section 3.2. See `Asha` for what is compared.
    """

    name: Literal["median_stopping"] = "median_stopping"
    min_steps: Steps = 30
    """No trial is stopped before."""

    min_trials: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3
    """Nor as long as fewer others came as far."""


Scheduled = Asha | MedianStopping
"""Pruners that compare trials across populations."""

PrunerSettings = Annotated[NoPruner | SuccessiveHalving | Hyperband, Field(discriminator="name")]
"""Pruners inside a population."""

AnyPruner = Annotated[
    NoPruner | SuccessiveHalving | Hyperband | Asha | MedianStopping, Field(discriminator="name")
]


class Protocol(Frozen):
    """The evaluation protocol of one stage."""

    steps: Steps = 300
    """Training steps of the full run."""

    batch_size: BatchSize = 64

    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1, max_length=64)] = GRID
    """The grid for candidates that name no learning rate."""

    grid_steps: Steps | None = 100
    """Steps of the short run that chooses from the grid; None chooses by the full run itself."""

    seeds: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    pruner: AnyPruner = NoPruner()
    metric: str = "validation_loss"
    """Compared for the choice of the learning rate and by the pruner."""

    direction: Literal["minimize", "maximize"] = "minimize"
    precision: Precision = "float32"
    test: bool = False
    """Also measure the test split, once, at the end of the run at the chosen learning rate."""


class Evaluation(Frozen):
    """All that a worker knows besides the proposals: the task and a protocol for each stage."""

    task: TaskSpec
    """For proposals that name none of their own."""

    protocols: dict[Stage, Protocol]

    constraints: tuple[Constraint, ...] = ()
    """What ends beyond one of these bounds is INFEASIBLE, for that reason."""

    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    """Threads torch may use in one worker."""
