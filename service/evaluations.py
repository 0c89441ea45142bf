"""How a job's trials are judged, and when two jobs judge alike."""

import hashlib

from dsl.candidate import Stage
from search.comparison import fresh_seed
from service.jobs import DiscoverJob, TuneJob
from workers.protocol import Evaluation, Protocol


def evaluation_of(job: TuneJob | DiscoverJob) -> Evaluation:
    """Return the task and the protocol of each stage."""
    compared = {"metric": job.objective.metric, "direction": job.objective.direction}
    if isinstance(job, TuneJob):
        search = Protocol(steps=job.budget.steps, pruner=job.pruner, **compared)
        return Evaluation(task=job.task, protocols={Stage.SEARCH: search})
    asked = job.protocol
    search = Protocol(
        steps=asked.steps,
        learning_rates=asked.learning_rates,
        grid_steps=asked.grid_steps,
        seeds=asked.seeds,
        **compared,
    )
    comparison = Protocol(
        steps=job.comparison.steps,
        learning_rates=job.comparison.learning_rates,
        # Every learning rate runs to the end: a short run flatters rules that start fast.
        grid_steps=None,
        seeds=job.comparison.seeds,
        test=True,
        **compared,
    )
    return Evaluation(task=job.task, protocols={Stage.SEARCH: search, Stage.COMPARISON: comparison})


def conditions(job: TuneJob | DiscoverJob) -> dict[Stage, str]:
    """Return for each stage 32 hexadecimal digits: task, whole protocol and first seed.

    Candidates of equal behaviour that were tried under equal conditions have equal outcomes. The
    trials of a tune job differ in numbers drawn from a continuum and may be pruned beside each
    other, so theirs are never looked up.
    """
    if isinstance(job, TuneJob):
        return {}
    whole, seeds = evaluation_of(job), {Stage.SEARCH: job.seed}
    seeds[Stage.COMPARISON] = fresh_seed(job.seed)
    found = {}
    for stage, protocol in whole.protocols.items():
        own = whole.model_copy(update={"protocols": {Stage.SEARCH: protocol}})
        said = f"{own.model_dump_json()} {seeds[stage]}"
        found[stage] = hashlib.sha256(said.encode()).hexdigest()[:32]
    return found
