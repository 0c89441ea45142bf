"""Ray Tune's schedulers for the trials of one job, each of which is a population of its own."""

import math
from typing import Any

from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from dsl.candidate import Stage
from workers.protocol import Asha, Evaluation, MedianStopping


class Schedule:
    """Decides which of a job's trials stop at a rung, as a scheduler of Tune does."""

    def __init__(self, scheduler: TrialScheduler) -> None:
        self._scheduler = scheduler
        self._known: set[str] = set()

    def decide(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return Tune's word for whether a trial goes on from a rung."""
        if trial.trial_id not in self._known:
            self._known.add(trial.trial_id)
            self._scheduler.on_trial_add(tune_controller, trial)
        decision: str = self._scheduler.on_trial_result(tune_controller, trial, _figures(result))
        return decision

    def ended(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Let a trial's last rung count for others."""
        if trial.trial_id in self._known and "score" in result:
            self._known.remove(trial.trial_id)
            self._scheduler.on_trial_complete(tune_controller, trial, _figures(result))


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    # Schedulers keep results, so they get no more than they look at.
    return {"step": result["step"], "score": result["score"]}


def schedule_of(evaluation: dict[str, Any]) -> Schedule | None:
    """Return the schedule of an `Evaluation` in JSON, None where populations stand alone."""
    protocol = Evaluation.model_validate(evaluation).protocols[Stage.SEARCH]
    mode = "min" if protocol.direction == "minimize" else "max"
    common: dict[str, Any] = {"time_attr": "step", "metric": "score", "mode": mode}
    scheduler: TrialScheduler
    match protocol.pruner:
        case Asha(reduction=reduction, min_steps=first):
            scheduler = ASHAScheduler(
                **common,
                grace_period=min(first, protocol.steps),
                max_t=protocol.steps,
                reduction_factor=reduction,
            )
        case MedianStopping(min_steps=first, min_trials=others):
            scheduler = MedianStoppingRule(
                **common,
                grace_period=first,
                min_samples_required=others,
                # A trial never makes room for others that wait.
                min_time_slice=math.inf,  # type: ignore[arg-type]
            )
        case _:
            return None
    return Schedule(scheduler)
