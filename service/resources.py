"""What the service shows: the resources of the REST interface, as the store returns them."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from dsl.candidate import Decay, Proposal, Stage
from dsl.outcome import Measurement, Origin, Outcome, TrialState
from dsl.schema import Frozen, Precision, Real
from search.settings import Objective
from service.jobs import JobSpec
from workers.protocol import Evaluation


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class Job(Frozen):
    """A job and how far it is."""

    id: str
    state: JobState
    spec: JobSpec
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None
    """Why it FAILED."""

    trials: dict[TrialState, int] = {}
    """How many trials are in each state, over all stages (states with none are left out)."""

    judged: int = 0
    """Trials of the search stage that were trained, or rejected for a stated reason."""

    budget: int
    """Trials of the search stage that the job will judge in all."""

    best: Real | None = None
    """Best value of the objective so far, among the search stage's COMPLETE trials."""

    notes: str = ""


class Trial(Frozen):
    """One candidate's evaluation."""

    job_id: str
    number: int
    state: TrialState
    stage: Stage
    task: str
    """The job's, or in the stage `unseen` one that its search never saw."""

    label: str | None = None
    """The baseline's name, or the tuned optimizer's; None for a rule without one."""

    rule_id: str
    rule: str
    decay: Decay = "none"
    """Weight decay beside the rule, of strength `weight_decay`; see `dsl.candidate.Decay`."""

    weight_decay: Real = 0.0
    schedule: str = "constant"
    """Name of the learning-rate schedule."""

    parameters: dict[str, Any] = {}
    value: Real | None = None
    """The objective's value; None unless COMPLETE or PRUNED."""

    reason: str | None = None
    step: int = 0
    lr: Real | None = None
    metrics: dict[str, Real] = {}
    spread: dict[str, Real] = {}
    seeds: int = 1
    cost_steps: int = 0
    cost_seconds: Real = 0.0
    slots: int = 0
    batch_size: int = 64
    precision: Precision = "float32"
    """In which its training steps were computed."""

    one_by_one: bool = False
    """It was trained in an ordinary loop over one model at a time, not stacked with others."""

    obstacle: str | None = None
    """Why it was trained one by one."""

    origin: Origin | None = None
    """The trial of an earlier job that was trained; this one took its outcome over, at no cost."""

    sampled: int | None = None
    """Rules that a discover job had sampled when it asked for this one, those known before and
    those refused included. Trials count the distinct ones."""

    replay: str | None = None
    """What determines its figures, as one name: `rulesmith replay JOB TRIAL` runs it again and
    compares every digit. None where they depend on what was trained beside it."""

    attempt: int = 0
    """How often it was started."""

    created: datetime
    finished: datetime | None = None


class FrontEntry(Frozen):
    """A trial that no other beats in all objectives."""

    values: tuple[Real, ...]
    """One for each objective, in their order."""

    trial: Trial


class Front(Frozen):
    """The Pareto front of a job with several objectives, in order of the first, the best first."""

    objectives: tuple[Objective, ...]
    items: tuple[FrontEntry, ...]


class Replay(Frozen):
    """All that is needed to run a trial again."""

    evaluation: Evaluation
    """Its task, and the protocol of its stage."""

    proposal: Proposal
    outcome: Outcome
    """As it was recorded, without its curve."""


class Curve(Frozen):
    """A trial's learning curve."""

    number: int
    state: TrialState
    points: tuple[Measurement, ...]


class PairedTest(Frozen):
    """An optimizer against the yardstick, tuned over the same grid, on the same seeds."""

    against: str
    metric: str
    steps: int
    """Of the full run, the same for both."""

    seeds: int
    wins: int
    """Seeds on which it did better."""

    difference: Real
    """Mean over seeds of its figure less the yardstick's."""

    p_value: Real
    test: str
    """Name of the test; its smallest p-value is 2^(1 - seeds)."""


class Evidence(Frozen):
    """What the stages after a search say of an optimizer, within one job."""

    metric: str
    """What counts: on the test split, where it was read, the objective elsewhere."""

    rank: int | None = None
    """Place among those who met the same task with the same seeds; None where it came to nothing
    (which no standing has)."""

    of: int
    """How many met it."""

    paired: PairedTest | None = None
    """None for the yardstick itself, and where it was not compared or came to nothing."""

    unseen_tasks: tuple[str, ...] = ()
    """Tasks of the job that its search never saw, on which the optimizer met the yardstick."""

    better_on: tuple[str, ...] = ()
    """Those of them where it did better, by the mean over seeds."""

    search_task_only: bool = False
    """It did better than the yardstick on the search's task and on no unseen one."""

    long: PairedTest | None = None
    """The same test after a budget many times as long, on the search's task."""


class Standing(Frozen):
    """A row of the leaderboard: an optimizer on a task, from its best-attested evaluation.

    An optimizer is a rule with the weight decay beside it: Adam and AdamW are two.
    """

    rule_id: str
    rule: str
    label: str | None = None
    """The catalogue's name, where rule and decay are known ones."""

    decay: Decay = "none"
    """Weight decay beside the rule, of strength `weight_decay`; see `dsl.candidate.Decay`."""

    weight_decay: Real = 0.0
    schedule: str = "constant"
    """Name of the learning-rate schedule."""

    task: str
    stage: Stage
    """COMPARISON: fresh seeds and the test split; UNSEEN: those, on a task that the job's search
    never saw; SEARCH: the search's own figure."""

    job_id: str
    number: int
    metric: str
    direction: Literal["minimize", "maximize"]
    value: Real
    lr: Real | None = None
    metrics: dict[str, Real]
    spread: dict[str, Real]
    seeds: int
    steps: int
    """Steps of the full run; rows of different length are not comparable."""

    slots: int
    """Numbers of optimizer state per weight."""

    cost_steps: int = 0
    """Training steps that the figure took in all, over learning rates and seeds."""

    cost_seconds: Real = 0.0
    """Core-seconds of that."""

    batch_size: int = 64
    precision: Precision = "float32"
    """In which the training steps were computed; rows that differ in it, or in the batch size, are
    not comparable."""

    replay: str | None = None
    """What determines the figure, as one name; `rulesmith replay JOB_ID NUMBER` runs it again."""

    failed_comparison: str | None = None
    """Why the optimizer came to nothing in a comparison, where only its search has a figure."""

    evidence: Evidence | None = None
    """None for a figure of the search alone."""


class RuleEntry(Frozen):
    """A rule with everything known of it."""

    id: str
    text: str
    """Canonical text; of another library's optimizer where it is imported from."""

    label: str | None = None
    latex: str
    origin: str
    """`job`, `catalogue` or `manual`."""

    library: str | None = None
    """The library whose optimizer it is, say `pytorch_optimizer`; None for a rule."""

    created: datetime
    hyperparameters: dict[str, Real] = {}
    slots: int
    standings: tuple[Standing, ...] = ()


class Event(Frozen):
    """Something that happened to a job; `seq` counts 1, 2, 3 … without gaps in each job."""

    job_id: str
    seq: int
    kind: str
    """`job` (state changed), `trials` (trials started or finished), `log` (a sentence)."""

    body: dict[str, Any]
    created: datetime


T = TypeVar("T")


class Page(Frozen, Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_page_token: str | None = None
    """Give it as `page_token` for the next page; None on the last."""

    total: int
