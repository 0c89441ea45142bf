"""What a job's named optimizers are as candidates."""

from dsl.candidate import Candidate
from optimizers.catalogue import CATALOGUE
from service.jobs import TuneJob


def tuned(job: TuneJob) -> Candidate:
    """Return the candidate whose numbers a tune job searches."""
    entry = CATALOGUE[job.optimizer]
    decay = entry.decay
    if decay == "none" and "weight_decay" in job.space:
        # To search the weight decay of an optimizer that has none is to ask for the usual one.
        decay = "decoupled"
    return Candidate(
        rule=entry.rule,
        lr=entry.lr,
        decay=decay,
        weight_decay=entry.weight_decay,
        schedule=job.schedule,
        seed=job.seed,
    )


def baseline(name: str, seed: int) -> Candidate:
    """Return a named optimizer with its defaults and without a learning rate, which is tuned."""
    entry = CATALOGUE[name]
    return Candidate(rule=entry.rule, decay=entry.decay, weight_decay=entry.weight_decay, seed=seed)
