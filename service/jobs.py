"""The two job bodies: what a person submits, what the store keeps, what the dispatcher runs."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dsl.candidate import ScheduleSpec
from dsl.figures import Constraint
from dsl.schema import Frozen, Precision, Seed
from dsl.text import MAX_LENGTH
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY
from optimizers.schedules import SCHEDULES
from search.sampler_settings import TPE, SamplerSettings
from search.settings import (
    LanguageSettings,
    Objective,
    Reinforcement,
    StrategySettings,
)
from search.space import Categorical, Point, SearchSpace
from search.warm_start import WarmStart
from service.conditions import NAMES, check, is_condition, try_schedule
from service.objectives import check_figures, with_first_objective
from service.refusals import refuse, unknown
from workers.protocol import (
    FINE_GRID,
    GRID,
    MOST_STEPS,
    AnyPruner,
    BatchSize,
    LearningRate,
    NoPruner,
    PrunerSettings,
    Steps,
    TaskSpec,
)
from workers.tasks.registry import TASKS

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w .,:;()+\-]+$")]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Baseline = Annotated[str, Field(max_length=64)]
LearningRates = Annotated[tuple[LearningRate, ...], Field(min_length=1, max_length=64)]
Seeds = Annotated[int, Field(strict=True, ge=1, le=64)]
MOST_ENQUEUED = 1000
"""Points that a tune job is given to try, in all."""

LONGER = 10
"""How many times the comparison's steps the long runs take."""


def _known(optimizer: str, *at: str | int) -> str:
    # That a library is installed and what it takes is asked at submission (service.candidates):
    # a job that is kept stays readable where the library is gone.
    if optimizer not in CATALOGUE and optimizer not in LIBRARY:
        unknown("optimizer", optimizer, [*CATALOGUE, *LIBRARY], *at)
    return optimizer


class JobBase(Frozen):
    """What both kinds of job have."""

    name: Name
    task: TaskSpec
    seed: Seed = 0
    objective: Objective = Objective()

    population: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = None
    """Candidates trained together as one tensor program; None lets the service choose."""

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: TaskSpec) -> TaskSpec:
        if task.name not in TASKS:
            unknown("task", task.name, TASKS, "name")
        return task

    @field_validator("objective")
    @classmethod
    def _known_metric(cls, objective: Objective, info: Any) -> Objective:
        task = info.data.get("task")
        if task is not None and objective.metric not in TASKS[task.name].metrics:
            unknown("metric", objective.metric, TASKS[task.name].metrics, "metric")
        return objective


class Training(Frozen):
    """What every run of a job has in common, in a stage of it."""

    batch_size: BatchSize = 64
    """Examples in a training step."""

    precision: Precision = "float32"
    """`tf32` (on a GPU; elsewhere float32) and `bfloat16` compute training steps faster and less
    exactly. Weights, optimizer states, losses and measurements are float32 in each."""


class TuneProtocol(Training):
    """How each trial of a tune job is judged, beside `budget.steps` and `pruner`."""

    learning_rates: LearningRates = GRID
    """The grid, for a job that gives a rule by its text and searches no `lr`."""

    grid_steps: Steps | None = 100
    """Steps of the short run at each of them; null lets the full run itself choose."""

    seeds: Seeds = 1
    """Runs of every trial, of which the mean counts; the pruner stops them together."""


class TuneBudget(Frozen):
    """How much a tune job may spend."""

    trials: Count
    steps: Steps = 300


class TuneJob(JobBase):
    """Search the numbers of a fixed rule, which either `optimizer` or `rule` says."""

    kind: Literal["tune"]
    optimizer: str | None = None
    """A name of the catalogue or of another library's optimizer (GET /optimizers)."""

    rule: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)] | None = None
    """The text of a rule (`dsl.text`); whether it is one is asked at submission."""

    schedule: ScheduleSpec = ScheduleSpec()
    space: SearchSpace
    sampler: SamplerSettings = TPE()
    pruner: AnyPruner = NoPruner()
    """`asha` and `median_stopping` compare all trials of the job, each trained by itself."""

    protocol: TuneProtocol = TuneProtocol()
    budget: TuneBudget
    enqueue: Annotated[tuple[Point, ...], Field(max_length=MOST_ENQUEUED)] = ()
    """Points to try first; the sampler chooses what one leaves out (POST /jobs/{id}/trials adds
    more)."""

    warm_start: WarmStart | None = None
    """What the sampler learns before the first trial, from an earlier job."""

    objectives: Annotated[tuple[Objective, ...], Field(max_length=4)] = ()
    """Several, of which the job finds the front (GET /jobs/{id}/front). The first, a metric of the
    task, is the job's `objective`, by which it is listed and drawn; others may be costs, too, which
    differ between its trials: `cost_seconds`; `cost_steps` where a grid of learning rates is tried;
    `slots` of a library's optimizer. One alone is kept as `objective`; an empty list, which a kept
    job shows, is as none."""

    constraints: Annotated[tuple[Constraint, ...], Field(max_length=8)] = ()
    """Bounds on metrics and on such costs; a trial that ends beyond one is INFEASIBLE."""

    @model_validator(mode="before")
    @classmethod
    def _first_objective(cls, body: Any) -> Any:
        return with_first_objective(body)

    @field_validator("objectives", "constraints")
    @classmethod
    def _known_figures(cls, named: tuple[Any, ...], info: Any) -> tuple[Any, ...]:
        if (task := info.data.get("task")) is not None:
            check_figures(named, task.name, info.field_name == "objectives")
        return named

    @property
    def figures(self) -> tuple[str, ...]:
        """Return what else than the objective is asked of a trial, by name."""
        named = [*(o.metric for o in self.objectives), *(c.metric for c in self.constraints)]
        return tuple(name for name in dict.fromkeys(named) if name != self.objective.metric)

    @model_validator(mode="after")
    def _objectives_agree(self) -> Self:
        if self.objectives and self.objectives[0] != self.objective:
            refuse("'objective' is the first of 'objectives'; leave one of them out", "objective")
        return self

    @field_validator("schedule", mode="before")
    @classmethod
    def _schedule_by_name(cls, schedule: Any) -> Any:
        return {"name": schedule} if isinstance(schedule, str) else schedule

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, schedule: ScheduleSpec) -> ScheduleSpec:
        if schedule.name not in SCHEDULES:
            unknown("schedule", schedule.name, SCHEDULES, "name")
        allowed = SCHEDULES[schedule.name].settings
        for name in schedule.settings:
            if name not in allowed:
                unknown(f"setting of {schedule.name}", name, allowed, "settings", name)
        try:
            try_schedule(schedule)
        except (ValueError, ArithmeticError) as error:
            raise PydanticCustomError(
                "schedule_settings",
                "{why}; allowed settings of {name}: {allowed}",
                {
                    "why": str(error),
                    "name": schedule.name,
                    "allowed": ", ".join(sorted(allowed)),
                    "at": ("settings",),
                },
            ) from error
        return schedule

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, optimizer: str | None) -> str | None:
        return None if optimizer is None else _known(optimizer)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.optimizer is None and self.rule is None:
            raise PydanticCustomError(
                "one_of",
                "a tune job needs a rule: give 'optimizer', a name such as 'adamw', or 'rule', a "
                "text such as 'sign(ema(g, beta))'",
                {"at": ("optimizer",)},
            )
        if self.optimizer is not None and self.rule is not None:
            raise PydanticCustomError(
                "one_of",
                "'optimizer' and 'rule' exclude each other; leave one of them out",
                {"at": ("rule",)},
            )
        return self

    @field_validator("space")
    @classmethod
    def _known_parameters(cls, space: SearchSpace, info: Any) -> SearchSpace:
        optimizer, schedule = info.data.get("optimizer"), info.data.get("schedule")
        if optimizer in CATALOGUE:
            allowed = {"lr", "weight_decay", *CATALOGUE[optimizer].hyperparameters, *NAMES}
            for name in space:
                if name not in allowed and not is_condition(name):
                    unknown(f"parameter of {optimizer}", name, allowed, name)
        for name, parameter in space.items():
            if is_condition(name):
                check(name, space, schedule or ScheduleSpec())
            elif isinstance(parameter, Categorical):
                for i, choice in enumerate(parameter.choices):
                    if isinstance(choice, str):
                        raise PydanticCustomError(
                            "choices",
                            "{name} is a number, so '{choice}' cannot be one of its choices; "
                            "allowed: numbers",
                            {"name": name, "choice": choice, "at": (name, "choices", i)},
                        )
        return space


class DiscoverBudget(Frozen):
    """How much a discover job may spend."""

    rules: Count
    """Distinct rules judged: trained, or rejected for a stated reason."""


class SearchProtocol(Training):
    """How each rule is judged during the search: Bello et al. 2017, section 4, scaled down.

    A short run at every learning rate, then a full run at the best; several seeds; a floor for
    rules that diverge. Stronger protocols take more of each.
    """

    learning_rates: LearningRates = GRID
    """The grid, of which each rule gets its best rate."""

    grid_steps: Steps | None = 60
    """Steps of the short run at each of them; null lets the full run itself choose."""

    steps: Steps = 200
    """Steps of the full run."""

    seeds: Seeds = 1
    """Runs of every rule at every rate, of which the mean counts."""

    pruner: PrunerSettings = NoPruner()
    """Stops full runs that fall behind those of the rules they are trained beside, so that a rule's
    value depends on these too, and is never taken over from an earlier job."""


class Comparison(Training):
    """After the search: the best rules beside the baselines, with fresh seeds, test split read.

    It has no pruner: all that is compared runs to its end.
    """

    top: Annotated[int, Field(strict=True, ge=0, le=1000)] = 10
    """How many of the rules found are compared."""

    learning_rates: LearningRates = FINE_GRID
    """The grid, of which rules and baselines alike get their best rate."""

    grid_steps: Steps | None = None
    """Steps of a short run that chooses the rate; null lets the full run itself choose, since a
    short one flatters rules that start fast."""

    seeds: Seeds = 5
    """Runs of each at every rate."""

    steps: Steps = 300
    """Steps of the full run."""

    baselines: Annotated[tuple[Baseline, ...], Field(max_length=64)] = (
        "sgd",
        "momentum",
        "nesterov",
        "rmsprop",
        "adam",
        "adamw",
        "nadam",
        "lion",
        "cautious_adamw",
    )
    """Names of hand-made optimizers (GET /optimizers)."""

    tasks: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Tasks the search did not see. The best rules of the comparison and all baselines are judged
    on each, with the same seeds and protocol: who wins on the search's task only is found out."""

    climb: Annotated[int, Field(strict=True, ge=0, le=1000)] = 3
    """How many rules go on from the comparison to `tasks` and to the long runs."""

    long: Annotated[bool, Field(strict=True)] = False
    """Whether they are also trained for ten times `steps`, beside AdamW (if it is a baseline)."""

    @field_validator("baselines")
    @classmethod
    def _known_baselines(cls, baselines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_known(name, i) for i, name in enumerate(baselines))

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for i, name in enumerate(tasks):
            if name not in TASKS:
                unknown("task", name, TASKS, i)
            if name in tasks[:i]:
                refuse(f"{name} is there already, at index {tasks.index(name)}", i)
        return tasks

    @field_validator("long")
    @classmethod
    def _long_enough(cls, long: bool, info: Any) -> bool:
        steps, most = info.data.get("steps", 1), MOST_STEPS // LONGER
        if long and steps > most:
            refuse(
                f"long runs take {LONGER} times 'steps', {steps}; give at most {most} steps, or "
                "leave 'long' out"
            )
        return long


class DiscoverJob(JobBase):
    """Search the rule."""

    kind: Literal["discover"]
    strategy: StrategySettings = Reinforcement()
    language: LanguageSettings = LanguageSettings()
    budget: DiscoverBudget
    protocol: SearchProtocol = SearchProtocol()
    comparison: Comparison = Comparison()

    @model_validator(mode="after")
    def _unseen_tasks(self) -> Self:
        metric = self.objective.metric
        for i, name in enumerate(self.comparison.tasks):
            at = ("comparison", "tasks", i)
            if name == self.task.name:
                refuse(f"{name} is the task of the search itself; name others", *at)
            if metric not in TASKS[name].metrics:
                allowed = ", ".join(TASKS[name].metrics)
                refuse(
                    f"{name} has no metric '{metric}', the job's objective; it has {allowed}", *at
                )
        return self


JobSpec = Annotated[TuneJob | DiscoverJob, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[TuneJob | DiscoverJob] = TypeAdapter(JobSpec)
"""Parses and prints either body."""
