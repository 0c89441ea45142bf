"""What the figures draw, as columns of JSON: few long lists instead of many small records."""

from typing import Any

from dsl.candidate import Stage
from dsl.outcome import TrialState
from search.space import Categorical
from service.jobs import TuneJob
from service.resources import Curve, Job
from service.store.query import Query
from service.store.store import Store
from service.web.digest import Digest, best_so_far, several

DRAWN = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE})
BEST_CURVES = 5
OTHER_CURVES = 35


def job_columns(job: Job, digest: Digest) -> dict[str, Any]:
    """Return the search stage's ended trials: number, value, state, best so far, parameters."""
    objective = job.spec.objective
    points = [point for point in digest.search() if point.state in DRAWN]
    space = job.spec.space if isinstance(job.spec, TuneJob) else {}
    parameters = {
        name: {
            "log": bool(getattr(parameter, "log", False)),
            "choices": [str(choice) for choice in parameter.choices]
            if isinstance(parameter, Categorical)
            else None,
            "values": [_drawn(point.parameters.get(name)) for point in points],
        }
        for name, parameter in space.items()
    }
    return {
        "metric": objective.metric,
        "direction": objective.direction,
        "budget": job.budget,
        "number": [point.number for point in points],
        "state": [point.state.value for point in points],
        "value": [_drawn(point.value) for point in points],
        "best": [_drawn(value) for value in best_so_far(points, objective.sign())],
        "parameters": parameters,
        "objectives": [
            {**each.model_dump(), "values": [_drawn(point.figures[i]) for point in points]}
            for i, each in enumerate(several(job))
        ],
        "front": digest.front,
    }


def _drawn(value: Any) -> Any:
    """Round a number to what a figure can show: ten thousand trials then take half the bytes."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def curve_columns(store: Store, job: Job) -> dict[str, Any]:
    """Return the search's learning curves on common steps: the best few and the latest."""
    metric = job.spec.objective.metric
    best = [trial.number for trial in store.best(job.id, BEST_CURVES)]
    latest = store.trials(
        job.id,
        Query(
            page_size=OTHER_CURVES,
            filter=f"state = {TrialState.COMPLETE.value} AND stage = {Stage.SEARCH.value}",
            order_by="number desc",
        ),
    )
    numbers = [*best, *(t.number for t in latest.items if t.number not in best)]
    curves = store.curves(job.id, numbers=numbers, limit=len(numbers)) if numbers else ()
    by_number = {curve.number: curve for curve in curves}
    kept = [by_number[number] for number in numbers if number in by_number]
    drawn = [(curve.number, series) for curve in kept if (series := _series(curve, metric))]
    steps = sorted({step for _, series in drawn for step in series})
    return {
        "metric": metric,
        "direction": job.spec.objective.direction,
        "step": steps,
        "curves": [
            {
                "number": number,
                "rank": best.index(number) + 1 if number in best else None,
                "values": [_drawn(series.get(step)) for step in steps],
            }
            for number, series in drawn
        ],
    }


def trial_curve(curve: Curve) -> dict[str, Any]:
    """Return one trial's losses by step, each metric a column."""
    names = sorted({name for point in curve.points for name in point.metrics})
    return {
        "step": [point.step for point in curve.points],
        "metrics": {name: [point.metrics.get(name) for point in curve.points] for name in names},
    }


def _series(curve: Curve, metric: str) -> dict[int, float]:
    return {point.step: point.metrics[metric] for point in curve.points if metric in point.metrics}
