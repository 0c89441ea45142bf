"""What came of a proposal, as a worker reports it."""

from enum import StrEnum

from pydantic import Field

from dsl.schema import Frozen, Precision, Real, Whole


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    """Stopped early by a scheduler, at its step."""
    INFEASIBLE = "INFEASIBLE"
    """The candidate's fault (diverged, NaN, rejected by a check); has a reason."""
    FAILED = "FAILED"
    """Ours (a lost worker, say); retried, never told to the searcher."""
    CANCELLED = "CANCELLED"


TOLD = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE)
"""What a worker reports; such a trial has its outcome and never changes again."""


class Measurement(Frozen):
    """One point of a learning curve."""

    step: Whole = Field(ge=0)
    metrics: dict[str, Real]


class Origin(Frozen):
    """The trial of an earlier job that an outcome was taken over from."""

    job_id: str
    number: Whole = Field(ge=0)


class Outcome(Frozen):
    """What came of one proposal. NaN and infinity never stand in it."""

    number: Whole = Field(ge=0)
    state: TrialState
    """COMPLETE, PRUNED or INFEASIBLE."""

    reason: str | None = None
    """Why it is INFEASIBLE."""

    step: Whole = 0
    """Steps the (longest) run took."""

    lr: Real | None = None
    """The learning rate used, chosen from the grid where the candidate named none."""

    metrics: dict[str, Real] = {}
    """Mean over seeds by metric name, say `validation_loss`, `validation_accuracy`."""

    spread: dict[str, Real] = {}
    """Sample standard deviation over seeds (0 for one seed)."""

    seeds: Whole = 1
    by_seed: dict[str, tuple[Real, ...]] = {}
    """Every seed's value, in the order of seeds; kept in the comparison stage."""

    curve: tuple[Measurement, ...] = ()
    """At most 64 points, mean over seeds at the learning rate used."""

    cost_steps: Whole = 0
    """Training steps spent in all, over learning rates and seeds."""

    cost_seconds: Real = 0.0
    """Core-seconds: the population's time shared equally over its training steps, or its own where
    it was trained one by one."""

    origin: Origin | None = None
    """Where it was trained, or rejected, in truth: an earlier job's trial that does the same under
    the same conditions. It cost nothing now."""

    one_by_one: bool = False
    """It was trained in an ordinary loop over one model at a time, not stacked with others."""

    obstacle: str | None = None
    """Why it was trained one by one."""

    slots: Whole = 0
    """Numbers of optimizer state per weight."""

    batch_size: Whole = 64
    """Examples in a training step."""

    precision: Precision = "float32"
    """In which its training steps were computed."""

    replay: str | None = None
    """What determines its figures, as one name (`workers.replay`): where that is the same, so are
    they, to the digit. None where they also depend on what was trained beside it."""

    platform: str | None = None
    """What computed it: torch's version and the device."""
