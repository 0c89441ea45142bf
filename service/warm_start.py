"""The trials of an ended job that another one starts from."""

from collections.abc import Iterator, Sequence

from dsl.candidate import Stage
from dsl.figures import SPENT, figure
from dsl.outcome import TrialState
from search.warm_start import MOST, KnownTrial, fits
from service.jobs import TuneJob
from service.resources import Trial


def chosen(trials: Sequence[Trial], job: TuneJob) -> tuple[KnownTrial, ...]:
    """Return what a job can learn from another one's trials, at most `MOST` of them."""
    sign = job.objective.sign()
    known = list(_known(trials, job))
    ranked = sorted(
        (trial for trial in known if fits(trial, job.space)),
        key=lambda trial: (trial.value is None, sign * (trial.value or 0.0)),
    )
    if len(ranked) > MOST:
        ranked = [ranked[i * (len(ranked) - 1) // (MOST - 1)] for i in range(MOST)]
    return tuple(ranked)


def _known(trials: Sequence[Trial], job: TuneJob) -> Iterator[KnownTrial]:
    for trial in trials:
        ended = trial.state in (TrialState.COMPLETE, TrialState.INFEASIBLE)
        costless = trial.origin is not None and SPENT & set(job.figures)
        if trial.stage is Stage.SEARCH and trial.parameters and ended and not costless:
            # Of what broke the other job's bounds the figures are known, and this job has its own.
            value = figure(trial, job.objective.metric)
            found = {name: figure(trial, name) for name in job.figures if value is not None}
            figures = {name: told for name, told in found.items() if told is not None}
            yield KnownTrial(parameters=trial.parameters, value=value, figures=figures)
