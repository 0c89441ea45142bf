"""Which parameters of a tune job matter: PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255)."""

import math
from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from dsl.outcome import TrialState
from dsl.schema import Frozen, Real
from search.samplers import distribution
from service.jobs import DiscoverJob, TuneJob
from service.resources import Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

LEAST_TRIALS = 10
"""Below this the best tenth is one trial, and nothing can be said."""


class Share(Frozen):
    """One parameter's share."""

    name: str
    importance: Real
    """Between 0 and 1; the shares of a job add up to 1, unless all are 0."""


class Importance(Frozen):
    """The shares of all parameters, largest first."""

    items: tuple[Share, ...]
    trials: int
    """How many COMPLETE trials were weighed."""

    note: str | None = None
    """Why there are no shares."""


def importance_of(spec: TuneJob | DiscoverJob, trials: Sequence[Trial]) -> Importance:
    """Return the share of each parameter in reaching the best tenth of `trials`.

    Args:
        spec: The job; a discover job has no parameters and gets no shares.
        trials: Its trials; those that are not COMPLETE are left out.

    Returns:
        Shares that add up to 1 (all 0 if no parameter tells good from bad), or none and a note
        if fewer than 10 trials are COMPLETE.
    """
    if isinstance(spec, DiscoverJob):
        return Importance(items=(), trials=0, note="a discover job has no parameters to weigh")
    # One that is not there in every trial cannot be weighed beside the others.
    distributions = {
        name: distribution(parameter)
        for name, parameter in spec.space.items()
        if not parameter.when
    }
    complete = [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and trial.value is not None
        and trial.parameters.keys() >= distributions.keys()
    ]
    if len(complete) < LEAST_TRIALS:
        note = f"{len(complete)} trials are COMPLETE; {LEAST_TRIALS} are needed"
        return Importance(items=(), trials=len(complete), note=note)
    sign = spec.objective.sign()
    values = sorted(sign * trial.value for trial in complete if trial.value is not None)
    if values[math.ceil(len(values) / 10) - 1] == values[-1]:
        note = "nearly all trials have the same value, so none can be told from the best tenth"
        return Importance(items=(), trials=len(complete), note=note)
    study = optuna.create_study(
        direction=spec.objective.direction, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    for trial in complete:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: trial.parameters[name] for name in distributions},
                distributions=distributions,
                value=trial.value,
            )
        )
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    finite = {name: share if math.isfinite(share) else 0.0 for name, share in shares.items()}
    ranked = sorted(finite.items(), key=lambda item: (-item[1], item[0]))
    items = tuple(Share(name=name, importance=min(1.0, max(0.0, share))) for name, share in ranked)
    return Importance(items=items, trials=len(complete))
