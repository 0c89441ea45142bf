"""Which aims of a tune job tell its trials apart, and which bounds any trial can keep."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import NamedTuple

from dsl.candidate import Candidate
from dsl.compile import compile_rule
from dsl.figures import Constraint
from optimizers.library import LIBRARY
from service.jobs import TuneJob
from service.refusals import Fault


class Span(NamedTuple):
    """Between which values a figure of a complete trial lies."""

    low: float = -inf
    high: float = inf

    @property
    def words(self) -> str:
        """Say it."""
        if self.low == -inf:
            return f"{self.high:g} or less"
        return (
            f"{self.low:g} or more" if self.high == inf else f"from {self.low:g} to {self.high:g}"
        )


_SPANS: Mapping[str, Span] = {
    "accuracy": Span(0.0, 1.0),
    "distance": Span(low=0.0),
    "loss": Span(low=0.0),
    "r2": Span(high=1.0),
    "seconds": Span(low=0.0),
    "slots": Span(low=0.0),
}
"""By the last word of a figure's name; every task's loss is a likelihood's, a square or a height
above a minimum of 0."""


def of_costs(job: TuneJob, candidate: Candidate) -> Iterator[Fault]:
    """Yield the faults of aims at costs that are the same in all complete trials of a job.

    Args:
        job: The job.
        candidate: What it searches the numbers of.
    """
    aims = [("objectives", i, each.metric) for i, each in enumerate(job.objectives)]
    aims += [("constraints", i, each.metric) for i, each in enumerate(job.constraints)]
    for field, i, metric in aims:
        if (why := _why_fixed(metric, job, candidate)) is not None:
            told = f"{metric} is the same for all trials of this job: {why}"
            yield (field, i, "metric"), f"{told}; leave it out, or name cost_seconds instead"


def _why_fixed(cost: str, job: TuneJob, candidate: Candidate) -> str | None:
    """Return why a cost does not vary between complete trials; None where it does."""
    steps, seeds = job.budget.steps, job.protocol.seeds
    if cost == "step":
        return f"each that completes takes {steps} steps"
    if cost == "cost_steps" and not _chooses_rates(job, candidate):
        runs = "" if seeds == 1 else f" for each of {seeds} seeds"
        return f"each that completes takes {steps} steps{runs}"
    if cost == "slots" and not candidate.imported:
        slots = len(compile_rule(candidate.rule).slots)
        return f"the rule keeps {slots} numbers for each weight, whatever its hyperparameters"
    if cost == "slots" and not job.space.keys() & LIBRARY[job.optimizer or ""].options.keys():
        return "no hyperparameter of the optimizer is searched"
    return None


def _chooses_rates(job: TuneJob, candidate: Candidate) -> bool:
    """Whether a trial may try a grid of rates, where one that diverges ends early."""
    return candidate.lr is None and ("lr" not in job.space or bool(job.space["lr"].when))


def of_constraints(job: TuneJob) -> Iterator[Fault]:
    """Yield the faults of bounds that repeat, or that no trial can keep, alone or together."""
    first: dict[tuple[str, str], int] = {}
    for i, each in enumerate(job.constraints):
        side, other = ("at_most", "at_least") if each.at_least is None else ("at_least", "at_most")
        span = _span(each.metric, job)
        if _misses(each, span):
            why = f"no trial can keep this: {each.metric} is always {span.words}"
            yield ("constraints", i, side), f"{why}; give a bound within that"
        elif (each.metric, side) in first:
            at = first[each.metric, side]
            yield ("constraints", i), f"{each.metric} has an {side} at index {at}; leave one out"
        elif (each.metric, other) in first:
            at = first[each.metric, other]
            if _misses(each, _kept(job.constraints[at])):
                both = f"{_words(each)} and, at index {at}, {_words(job.constraints[at])}"
                yield ("constraints", i), f"no trial can keep {both}; change one of them"
        first.setdefault((each.metric, side), i)


def _span(figure: str, job: TuneJob) -> Span:
    if figure in ("cost_steps", "step"):
        runs = job.protocol.seeds if figure == "cost_steps" else 1
        return Span(low=job.budget.steps * runs)
    return _SPANS.get(figure.rpartition("_")[2], Span())


def _kept(constraint: Constraint) -> Span:
    """Return what a constraint allows."""
    if constraint.at_least is None:
        return Span(high=inf if constraint.at_most is None else constraint.at_most)
    return Span(low=constraint.at_least)


def _misses(constraint: Constraint, span: Span) -> bool:
    """Whether nothing in a span keeps a constraint."""
    kept = _kept(constraint)
    return kept.low > span.high or kept.high < span.low


def _words(constraint: Constraint) -> str:
    kept = _kept(constraint)
    if kept.low == -inf:
        return f"{constraint.metric} at most {kept.high:g}"
    return f"{constraint.metric} at least {kept.low:g}"
