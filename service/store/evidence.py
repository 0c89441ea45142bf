"""What the stages after a search say of a rule: ranks, paired tests, the tasks where it wins."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from sqlalchemy import Connection, select

from dsl.candidate import Stage
from dsl.outcome import TOLD, Outcome, TrialState
from search.comparison import YARDSTICK
from service.paired import TEST, counted, signed_rank
from service.resources import Evidence, PairedTest
from service.store.tables import jobs, trials

COMPARED = tuple(stage for stage in Stage if stage is not Stage.SEARCH)

Place = tuple[str, int]
"""A job's id and a trial's number."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A trial of a comparison, an unseen task or a long run."""

    number: int
    stage: Stage
    task: str
    optimizer: tuple[str, str | None]
    """The rule's id and the baseline's name."""

    outcome: Outcome

    @property
    def complete(self) -> bool:
        return self.outcome.state is TrialState.COMPLETE


def of(connection: Connection, places: Iterable[Place]) -> dict[Place, Evidence]:
    """Return the evidence of those trials among `places` that a stage after a search made."""
    wanted = set(places)
    rows = connection.execute(
        select(
            trials.c.job_id,
            trials.c.number,
            trials.c.stage,
            trials.c.task,
            trials.c.rule_id,
            trials.c.label,
            trials.c.outcome,
            jobs.c.metric,
            jobs.c.direction,
        )
        .join_from(trials, jobs)
        .where(
            trials.c.job_id.in_(sorted({job_id for job_id, _ in wanted})),
            trials.c.stage.in_(COMPARED),
            trials.c.state.in_(TOLD),
        )
        .order_by(trials.c.job_id, trials.c.number)
    )
    by_job: dict[tuple[str, str, str], list[_Run]] = defaultdict(list)
    for row in rows:
        by_job[row.job_id, row.metric, row.direction].append(
            _Run(
                row.number,
                Stage(row.stage),
                row.task,
                (row.rule_id, row.label),
                Outcome.model_validate(row.outcome),
            )
        )
    return {
        (job_id, run.number): _evidence(_Job(runs, metric, direction), run)
        for (job_id, metric, direction), runs in by_job.items()
        for run in runs
        if (job_id, run.number) in wanted
    }


class _Job:
    """A job's runs, and what counts among them."""

    def __init__(self, runs: Sequence[_Run], metric: str, direction: str) -> None:
        self.runs = runs
        self.metric = counted(metric, (run.outcome.metrics for run in runs if run.complete))
        self.sign = 1.0 if direction == "minimize" else -1.0

    def beside(self, run: _Run) -> list[_Run]:
        """Return all that met the same task in the same stage, the run itself included."""
        return [each for each in self.runs if (each.stage, each.task) == (run.stage, run.task)]

    def value(self, run: _Run) -> float:
        """Return what counts of a complete run, less being better."""
        return self.sign * run.outcome.metrics[self.metric]

    def yardstick(self, run: _Run) -> _Run | None:
        return next((r for r in self.beside(run) if r.optimizer[1] == YARDSTICK), None)

    def better(self, run: _Run) -> bool:
        """Whether it does better than the yardstick, by the mean over seeds."""
        other = self.yardstick(run)
        if other is None or not run.complete:
            return False
        return not other.complete or self.value(run) < self.value(other)

    def paired(self, run: _Run) -> PairedTest | None:
        """Return the test against the yardstick, None where one of the two has no figure."""
        other = self.yardstick(run)
        if other is None or other is run or not (run.complete and other.complete):
            return None
        mine, theirs = (each.outcome.by_seed.get(self.metric, ()) for each in (run, other))
        differences = [own - yard for own, yard in zip(mine, theirs, strict=False)]
        if not differences or len(mine) != len(theirs):
            return None
        return PairedTest(
            against=YARDSTICK,
            metric=self.metric,
            steps=run.outcome.step,
            seeds=len(differences),
            wins=sum(self.sign * difference < 0 for difference in differences),
            difference=fmean(differences),
            p_value=signed_rank(differences),
            test=TEST,
        )


def _evidence(job: _Job, run: _Run) -> Evidence:
    beside = job.beside(run)
    rank = None
    if run.complete:
        rank = 1 + sum(each.complete and job.value(each) < job.value(run) for each in beside)
    own = [each for each in job.runs if each.optimizer == run.optimizer]
    searched = [each for each in own if each.stage is Stage.COMPARISON]
    unseen = [
        each
        for each in own
        if each.stage is Stage.UNSEEN and job.yardstick(each) not in (None, each)
    ]
    better = [each.task for each in unseen if job.better(each)]
    long = next((each for each in own if each.stage is Stage.LONG), None)
    return Evidence(
        metric=job.metric,
        rank=rank,
        of=len(beside),
        paired=job.paired(run),
        unseen_tasks=tuple(each.task for each in unseen),
        better_on=tuple(better),
        search_task_only=bool(unseen and not better and any(map(job.better, searched))),
        long=None if long is None else job.paired(long),
    )
