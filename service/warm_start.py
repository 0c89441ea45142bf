"""The trials of an ended job that another one starts from."""

from collections.abc import Iterator, Sequence

from dsl.candidate import Stage
from dsl.outcome import TrialState
from search.space import SearchSpace
from search.warm_start import MOST, KnownTrial, fits
from service.resources import Trial


def chosen(trials: Sequence[Trial], space: SearchSpace, sign: float) -> tuple[KnownTrial, ...]:
    """Return what a search of `space` can learn from a job's trials, at most `MOST` of them.

    Args:
        trials: The job's trials.
        space: What is searched now.
        sign: +1 if a smaller value is better, else -1.
    """
    known = list(_known(trials))
    ranked = sorted(
        (trial for trial in known if fits(trial, space)),
        key=lambda trial: (trial.value is None, sign * (trial.value or 0.0)),
    )
    if len(ranked) > MOST:
        ranked = [ranked[i * (len(ranked) - 1) // (MOST - 1)] for i in range(MOST)]
    return tuple(ranked)


def _known(trials: Sequence[Trial]) -> Iterator[KnownTrial]:
    for trial in trials:
        if trial.stage is Stage.SEARCH and trial.parameters:
            if trial.state is TrialState.COMPLETE and trial.value is not None:
                yield KnownTrial(parameters=trial.parameters, value=trial.value)
            elif trial.state is TrialState.INFEASIBLE:
                yield KnownTrial(parameters=trial.parameters, value=None)
