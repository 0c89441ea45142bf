"""How a job's trials are judged, and when two jobs judge alike."""

import hashlib

from dsl.candidate import Stage
from dsl.figures import SPENT
from search.comparison import fresh_seed
from service.jobs import LONGER, DiscoverJob, TuneJob
from workers.protocol import Evaluation, NoPruner, Protocol, TaskSpec


def evaluation_of(job: TuneJob | DiscoverJob) -> Evaluation:
    """Return the task and the protocol of each stage."""
    compared = {"metric": job.objective.metric, "direction": job.objective.direction}
    asked = job.protocol.model_dump() | compared
    if isinstance(job, TuneJob):
        tuned = {"steps": job.budget.steps, "pruner": job.pruner}
        search = Protocol.model_validate(asked | tuned)
        bounds = job.constraints
        return Evaluation(task=job.task, protocols={Stage.SEARCH: search}, constraints=bounds)
    search = Protocol.model_validate(asked)
    read = job.comparison.model_dump(include=set(Protocol.model_fields)) | {"test": True}
    comparison = Protocol.model_validate(read | compared)
    protocols = {Stage.SEARCH: search, Stage.COMPARISON: comparison}
    if job.comparison.tasks:
        protocols[Stage.UNSEEN] = comparison
    if job.comparison.long:
        steps = comparison.steps * LONGER
        protocols[Stage.LONG] = comparison.model_copy(update={"steps": steps})
    return Evaluation(task=job.task, protocols=protocols)


def conditions(job: TuneJob | DiscoverJob) -> dict[Stage, str]:
    """Return for each stage 32 hexadecimal digits: task, whole protocol and first seed.

    Candidates of equal behaviour that were tried under equal conditions have equal outcomes, up to
    the job's constraints, which judge them anew (`dsl.feasibility`) and are left out here. Those
    that a pruner compares depend on each other, so theirs are never looked up; nor are those of a
    job that is after what trials cost, for one that is taken over costs nothing.
    """
    if isinstance(job, TuneJob) and SPENT & set(job.figures):
        return {}
    whole, found = evaluation_of(job), {}
    for stage, protocol in whole.protocols.items():
        if not isinstance(protocol.pruner, NoPruner):
            continue
        seed = job.seed if stage is Stage.SEARCH else fresh_seed(job.seed)
        # The behaviour of what is tried on another task says on which.
        task = TaskSpec(name="") if stage is Stage.UNSEEN else job.task
        asked = {"task": task, "protocols": {Stage.SEARCH: protocol}, "constraints": ()}
        own = whole.model_copy(update=asked)
        # A discover job has no constraints, and its earlier versions knew no such field.
        left_out = {"constraints"} if isinstance(job, DiscoverJob) else None
        said = f"{own.model_dump_json(exclude=left_out)} {seed}"
        found[stage] = hashlib.sha256(said.encode()).hexdigest()[:32]
    return found
