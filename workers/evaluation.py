"""From proposals to outcomes: screening, the learning-rate grid, the full run over seeds."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean as mean
from statistics import stdev

from dsl.candidate import Candidate, Proposal, Stage
from dsl.feasibility import bounded
from dsl.outcome import Measurement, Outcome, TrialState
from workers.population import POINTS, RowResult, train_population
from workers.protocol import Evaluation, NoPruner, Protocol
from workers.replay import identity, platform
from workers.screening import fault, steep
from workers.single import refusal
from workers.snapshots import measured
from workers.tasks.registry import find_task
from workers.tasks.task import Task

STRIDE = 10
"""Steps between two points of a curve, at least, where every rate runs to the end, though one
curve is kept: on small models measuring would take a third of the time."""


Report = Callable[[Outcome], None]


def judge(
    evaluation: Evaluation,
    proposals: Sequence[Proposal],
    *,
    device: str = "cpu",
    heard: Report | None = None,
) -> list[Outcome]:
    """Try every proposal; those of one task, stage and batch size are trained as one population.

    A candidate without a learning rate first runs `grid_steps` steps at every rate of the
    protocol's grid, which is that run's whole horizon (T and the schedule end there); the rate
    with the best mean over seeds is taken for the full run. A rate at which any seed diverges is
    out. Without `grid_steps` full runs choose, and the best of them counts; where the test split
    is asked for it is run once more, and measured then: the test split is read for the chosen rate
    alone.

    Args:
        evaluation: the task of proposals that name none, and a protocol for each stage in
            `proposals`.
        proposals: what to try.
        device: a torch device.
        heard: is told at every rung of a pruner that compares populations what would come of a
            single proposal if it stopped there: PRUNED, with its step.

    Returns:
        One outcome per proposal, in their order. A candidate's fault is an INFEASIBLE outcome
        with its reason, never an exception.

    Raises:
        ValueError: an unknown task, metric or schedule, or a stage without a protocol.
    """
    alike: dict[tuple[str, Stage, int | None], list[Proposal]] = defaultdict(list)
    for proposal in proposals:
        name = proposal.task or evaluation.task.name
        alike[name, proposal.stage, proposal.candidate.batch_size].append(proposal)
    outcomes: dict[int, Outcome] = {}
    for (name, stage, batch_size), group in alike.items():
        task = find_task(name)
        if stage not in evaluation.protocols:
            raise ValueError(f"the evaluation has no protocol for stage {stage.value!r}")
        protocol = evaluation.protocols[stage]
        if protocol.metric not in task.metrics:
            allowed = ", ".join(task.metrics)
            raise ValueError(f"{task.name} has no metric {protocol.metric!r}; allowed: {allowed}")
        if batch_size is not None:
            protocol = protocol.model_copy(update={"batch_size": batch_size})
        for outcome in _Judgement(task, protocol, group, device, heard).outcomes():
            outcomes[outcome.number] = bounded(outcome, evaluation.constraints)
    return [outcomes[proposal.number] for proposal in proposals]


@dataclass
class _Case:
    """A proposal on its way through the protocol."""

    number: int
    candidate: Candidate
    """With its learning rate, once that is chosen."""

    replay: str | None
    """See `workers.replay.identity`."""

    reason: str | None = None
    cost: int = 0
    seconds: float = 0.0
    """CPU time of the runs that were not stacked."""

    results: list[RowResult] = field(default_factory=list)
    """Of the last run, one per seed; those at the lowest rate when all rates failed."""


class _Judgement:
    """One stage's proposals under its protocol."""

    def __init__(
        self,
        task: Task,
        protocol: Protocol,
        proposals: Sequence[Proposal],
        device: str,
        heard: Report | None = None,
    ) -> None:
        self._task, self._protocol, self._device = task, protocol, device
        self._heard, self._began = heard, 0.0
        self._cases = [
            _Case(
                each.number, each.candidate, identity(task.name, each.candidate, protocol, device)
            )
            for each in proposals
        ]
        most = protocol.steps if protocol.grid_steps is not None else protocol.steps // STRIDE
        self._points = max(1, min(POINTS, most))

    def outcomes(self) -> list[Outcome]:
        """Screen, choose rates, train.

        A case's cost is its share, by steps, of the CPU time of what was trained together, and its
        own time where it was trained one by one.
        """
        # CPU time, since the machine's other work is not this population's cost
        began = self._began = time.process_time()
        self._screen()
        self._choose_rates()
        self._full_run()
        spent = time.process_time() - began - sum(case.seconds for case in self._cases)
        steps = sum(case.cost for case in self._cases)
        share = max(0.0, spent) / steps if steps else 0.0
        return [
            _outcome(case, self._protocol, case.seconds + share * case.cost, platform(self._device))
            for case in self._cases
        ]

    def _screen(self) -> None:
        slope = any(not case.candidate.imported for case in self._cases) and _steep(self._task.name)
        for case in self._cases:
            each = case.candidate
            if each.imported:
                case.reason = refusal(self._task, each)
            else:
                case.reason = fault(each, self._protocol.learning_rates, steep=slope)

    def _choose_rates(self) -> None:
        protocol, whole = self._protocol, self._protocol.grid_steps is None
        cases = [case for case in self._cases if not case.reason and case.candidate.lr is None]
        short = protocol.model_copy(update={"test": False})
        if protocol.grid_steps is not None:
            update = {"steps": protocol.grid_steps, "pruner": NoPruner()}
            short = short.model_copy(update=update)
        rates = protocol.learning_rates
        kept = whole and not protocol.test
        points, low = self._points if kept else 1, min(range(len(rates)), key=lambda i: rates[i])
        found = self._train(cases, [rates] * len(cases), short, points, lazily=kept)
        for case, by_rate, best in zip(cases, found, _chosen(found, low, protocol), strict=True):
            if best is None:
                case.results = by_rate[low]
                case.reason = (
                    f"diverged at every learning rate from {rates[low]:g} to {max(rates):g}; "
                    f"at {rates[low]:g}: {_first_reason(by_rate[low])}"
                )
                continue
            case.candidate = case.candidate.model_copy(update={"lr": rates[best]})
            case.results = by_rate[best] if kept else []

    def _full_run(self) -> None:
        cases = [case for case in self._cases if not case.reason and not case.results]
        rates = [[case.candidate.lr] for case in cases]
        for case, by_rate in zip(
            cases, self._train(cases, rates, self._protocol, self._points, self._tell), strict=True
        ):
            case.results = by_rate[0]
        for case in self._cases:
            if not case.reason and any(
                result.state is TrialState.INFEASIBLE for result in case.results
            ):
                case.reason = _first_reason(case.results)

    def _tell(self, results: list[RowResult]) -> None:
        """Tell how a proposal that is judged alone stands."""
        if self._heard is not None and len(self._cases) == 1:
            cost = self._cases[0].cost + sum(result.step for result in results)
            case = replace(self._cases[0], cost=cost, results=results)
            spent = time.process_time() - self._began
            self._heard(_outcome(case, self._protocol, spent, platform(self._device)))

    def _train(
        self,
        cases: Sequence[_Case],
        rates: Sequence[Sequence[float | None]],
        protocol: Protocol,
        points: int,
        heard: Callable[[list[RowResult]], None] | None = None,
        *,
        lazily: bool = False,
    ) -> list[list[list[RowResult]]]:
        """Train every case at its rates and all seeds as one population; [case][rate][seed]."""
        rows, families, family = [], [], 0
        for case, own in zip(cases, rates, strict=True):
            for rate in own:
                for seed in range(protocol.seeds):
                    update = {"lr": rate, "seed": case.candidate.seed + seed}
                    rows.append(case.candidate.model_copy(update=update))
                    families.append(family)
                family += 1
        results = iter(
            train_population(
                self._task,
                rows,
                protocol,
                device=self._device,
                families=families,
                points=points,
                heard=heard,
                lazily=lazily,
            )
        )
        found = [[[next(results) for _ in range(protocol.seeds)] for _ in own] for own in rates]
        for case, by_rate in zip(cases, found, strict=True):
            case.cost += sum(result.step for by_seed in by_rate for result in by_seed)
            case.seconds += sum(result.seconds for by_seed in by_rate for result in by_seed)
        return found


@cache
def _steep(task: str) -> bool:
    return steep(find_task(task))


def _best(by_rate: Sequence[Sequence[RowResult]], protocol: Protocol) -> int | None:
    """Return the index of the best rate by its mean over seeds, None if none survived."""
    sign = 1.0 if protocol.direction == "minimize" else -1.0
    scores = {
        i: sign * mean([result.metrics[protocol.metric] for result in by_seed])
        for i, by_seed in enumerate(by_rate)
        if all(result.state is TrialState.COMPLETE for result in by_seed)
    }
    if not scores:
        # every rate that did not diverge was pruned: take the one that came furthest
        scores = {
            i: -min(result.step for result in by_seed)
            for i, by_seed in enumerate(by_rate)
            if all(result.state is TrialState.PRUNED for result in by_seed)
        }
    return min(scores, key=lambda i: scores[i]) if scores else None


def _chosen(found: list[list[list[RowResult]]], low: int, protocol: Protocol) -> list[int | None]:
    """Return the best rate of every case, and measure the points of its curve, in `found`.

    A point that is not finite may put a rate out. Where none survives, that of rate `low` is shown.
    """
    best: dict[int, int | None] = {}
    waiting = list(range(len(found)))
    while waiting:
        best |= {case: _best(found[case], protocol) for case in waiting}
        rates = [best[case] for case in waiting]
        shown = [
            (case, low if rate is None else rate) for case, rate in zip(waiting, rates, strict=True)
        ]
        results = iter(_with_curves([each for case, i in shown for each in found[case][i]]))
        for case, i in shown:
            found[case][i] = [next(results) for _ in found[case][i]]
        waiting = [
            case
            for case, i in shown
            if best[case] is not None
            and any(each.state is TrialState.INFEASIBLE for each in found[case][i])
        ]
    return [best[case] for case in range(len(found))]


def _with_curves(results: Sequence[RowResult]) -> Iterator[RowResult]:
    """Yield results with the points of their snapshots, INFEASIBLE at one that is not finite."""
    figures = measured([each for result in results for each in result.snapshots])
    for result in results:
        points = [(each.step, next(figures)) for each in result.snapshots]
        broken = next((point for point in points if _unbounded(point[1])), None)
        curve = [Measurement(step=s, metrics=m) for s, m in points if not broken or s < broken[0]]
        if broken is None:
            curve += result.curve
        else:
            reason = f"{_unbounded(broken[1])} is no longer a finite number at step {broken[0]}"
            state = TrialState.INFEASIBLE
            result = replace(result, state=state, step=broken[0], reason=reason)
        metrics = {**(curve[-1].metrics if curve else {}), **({} if broken else result.metrics)}
        yield replace(result, metrics=metrics, curve=tuple(curve), snapshots=())


def _unbounded(metrics: Mapping[str, float]) -> str | None:
    """Return the name of the first metric that is not finite."""
    return next((name for name, value in metrics.items() if not math.isfinite(value)), None)


def _first_reason(by_seed: Sequence[RowResult]) -> str:
    return next(result.reason for result in by_seed if result.reason)


def _outcome(case: _Case, protocol: Protocol, seconds: float, computer: str) -> Outcome:
    results = case.results
    step = max((result.step for result in results), default=0)
    common = {
        "number": case.number,
        "reason": case.reason,
        "step": step,
        "lr": case.candidate.lr,
        "seeds": protocol.seeds,
        "cost_steps": case.cost,
        "cost_seconds": seconds,
        "slots": results[0].slots if results else 0,
        "batch_size": protocol.batch_size,
        "precision": protocol.precision,
        "replay": case.replay,
        "platform": computer,
        "one_by_one": case.candidate.imported or any(each.one_by_one for each in results),
        "obstacle": next((each.obstacle for each in results if each.obstacle), None),
    }
    if case.reason:
        return Outcome(state=TrialState.INFEASIBLE, curve=_mean_curve(results), **common)
    by_seed = {
        name: tuple(result.metrics[name] for result in results) for name in results[0].metrics
    }
    return Outcome(
        state=results[0].state,
        metrics={name: mean(values) for name, values in by_seed.items()},
        spread={
            name: stdev(values) if len(values) > 1 else 0.0 for name, values in by_seed.items()
        },
        by_seed=by_seed,
        curve=_mean_curve(results),
        **common,
    )


def _mean_curve(results: Sequence[RowResult]) -> tuple[Measurement, ...]:
    """Return the mean over seeds at the steps that every seed reached."""
    points = []
    for group in zip(*(result.curve for result in results), strict=False):
        names = group[0].metrics
        metrics = {name: mean([point.metrics[name] for point in group]) for name in names}
        points.append(Measurement(step=group[0].step, metrics=metrics))
    return tuple(points)
