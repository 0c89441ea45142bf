"""From a job's body to what runs it: the strategy, the size of populations.

`build` is called in the driver, by name. It is the one place where search and workers meet.
"""

import math

from dsl.candidate import Candidate
from optimizers.library import LIBRARY
from search.comparison import WithComparison, climbing
from search.discovery import RandomStrategy
from search.evolution import EvolutionStrategy
from search.language import Language
from search.reinforcement import ReinforcementStrategy
from search.settings import Evolution, Reinforcement
from search.strategy import History, Known, Strategy
from search.tune_searcher import PopulationSearcher
from search.tuning import OptunaStrategy
from service.candidates import baseline, tuned
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from service.languages import rule_named, spoken
from workers.driver import Plan, capacity
from workers.protocol import Scheduled
from workers.pruning import fewest

ROUNDS = 5
"""Populations that each worker of a tune job trains at least, unless its pruner needs larger ones:
the sampler learns between them."""

TUNE_POPULATION = 64
DISCOVER_POPULATION = 32
"""Candidates in one population at most, where the job does not say. A rule of a discover job
brings a row for each learning rate of its grid."""

ONE_BY_ONE_POPULATION = 8
"""The same for optimizers that are not stacked: together they gain no time, and the sampler learns
between populations. Under a pruner they stay together, for it compares them."""


Past = tuple[History, bytes | None, Known, str]
"""A job's trials in the order of numbers, the strategy's last snapshot, what need not be tried
again, and the job's id."""


def build(job_json: str, past: Past) -> Plan:
    """Return the plan of a job that goes on from its `past`.

    Args:
        job_json: The job's body.
        past: What has happened so far.

    Raises:
        pydantic.ValidationError: The body is not a job.
    """
    job = JOB_SPEC.validate_json(job_json)
    concurrent, gpus = capacity()
    population = population_of(job, concurrent)
    strategy = strategy_of(job, population)
    history, snapshot, known, job_id = past
    strategy.restore(history, snapshot)
    return Plan(
        searcher=PopulationSearcher(strategy, population, concurrent, known, job_id),
        evaluation=evaluation_of(job).model_dump(mode="json"),
        max_concurrent=concurrent,
        gpus=gpus,
    )


def strategy_of(job: TuneJob | DiscoverJob, population: int = 1) -> Strategy:
    """Return the job's strategy, fresh, for populations of this size."""
    if isinstance(job, TuneJob):
        return OptunaStrategy(
            job.space,
            job.sampler,
            job.objective,
            job.budget.trials,
            tuned(job),
            job.seed,
            population,
            job.enqueue,
            job.warm_start.trials if job.warm_start else (),
            others=job.objectives[1:],
            constraints=job.constraints,
        )
    language = spoken(job.language)
    template = Candidate(rule="g", seed=job.seed)
    common = (language, job.objective, job.budget.rules, template, job.seed)
    if isinstance(job.strategy, Reinforcement):
        inner: Strategy = ReinforcementStrategy(*common, job.strategy)
    elif isinstance(job.strategy, Evolution):
        start = tuple(rule_named(rule) for rule in job.strategy.start)
        settings = job.strategy.model_copy(update={"start": start})
        inner = EvolutionStrategy(Language(job.language), *common[1:], settings)
    else:
        inner = RandomStrategy(*common)
    baselines = [(name, baseline(name, job.seed)) for name in job.comparison.baselines]
    asked = job.comparison
    comparison = WithComparison(inner, job.objective, asked.top, baselines, job.seed)
    return climbing(comparison, asked.climb, asked.tasks, asked.long)


def population_of(job: TuneJob | DiscoverJob, concurrent: int) -> int:
    """Return how many candidates are trained together.

    So few that a search hears of some before it asks for others, but enough for the pruner.
    """
    if isinstance(job, TuneJob) and isinstance(job.pruner, Scheduled):
        return 1
    if job.population is not None:
        return job.population
    least = 1
    if isinstance(job, TuneJob):
        least = min(fewest(job.pruner, job.budget.steps), job.budget.trials)
        alone = job.optimizer in LIBRARY and job.pruner.name == "none"
        budget, most = job.budget.trials, ONE_BY_ONE_POPULATION if alone else TUNE_POPULATION
    else:
        budget, most = job.budget.rules, DISCOVER_POPULATION
    return max(least, min(most, math.ceil(budget / (ROUNDS * concurrent))))
