"""What is tried: a rule with its numbers, and the proposal that carries it to a worker."""

from enum import StrEnum
from re import fullmatch
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from dsl.schema import Frozen, Real, Seed, Whole

Decay = Literal["none", "l2", "decoupled", "paper", "own"]
"""Weight decay outside the rule, with λ the `weight_decay` of the candidate.

`l2` adds λw to the gradient; `decoupled` subtracts lr_t·λ·w beside the update (torch's AdamW);
`paper` subtracts η_t·λ·w, η_t the schedule's multiplier alone (Loshchilov & Hutter 2019, Alg. 2).
`own` hands λ to another library's optimizer, which applies it in its own way; no rule has it.
"""

SCHEDULE = "schedule."
SCHEDULE_NAME = SCHEDULE + "name"
DECAY_KIND = "weight_decay.kind"
BATCH_SIZE = "training.batch_size"
"""Names, beside a rule's hyperparameters, by which a search sets a candidate's other parts; what
follows `schedule.` is a setting of the schedule. No hyperparameter has a dot in its name."""

_PATH = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"


_PARTS = {
    "lr": "lr",
    "weight_decay": "weight_decay",
    DECAY_KIND: "decay",
    BATCH_SIZE: "batch_size",
}


class Stage(StrEnum):
    """Why a candidate is tried."""

    SEARCH = "search"
    """The searcher wants to know; its answer steers what is asked next."""

    COMPARISON = "comparison"
    """After the search: the best found and the baselines, with seeds the search never saw."""

    UNSEEN = "unseen"
    """The best of the comparison and the baselines, on tasks the search never saw."""

    LONG = "long"
    """The best of the comparison and AdamW, on the search's task for many times as long."""


class ScheduleSpec(Frozen):
    """A learning-rate schedule by name, with its settings (see `optimizers.schedules`)."""

    name: str = "constant"
    settings: dict[str, Real] = {}


class Candidate(Frozen):
    """A rule with its numbers: all that a training run depends on besides the task and protocol."""

    rule: str
    """Rule text, see `dsl.text`; or where an optimizer that no rule can say is imported from, its
    module and class: `pytorch_optimizer.Muon` (see `optimizers.library`)."""

    lr: Real | None = None
    """Learning rate; None lets the protocol's grid choose."""

    hyperparameters: dict[str, Real] = {}
    """Values for the rule's hyperparameters; those not named keep the rule's defaults."""

    decay: Decay = "none"
    weight_decay: Real = 0.0
    schedule: ScheduleSpec = ScheduleSpec()
    batch_size: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Examples in a training step; None takes the protocol's."""

    seed: Seed = 0
    """First seed; a protocol with n seeds uses seed, seed + 1, … seed + n - 1."""

    @property
    def imported(self) -> bool:
        """Whether `rule` names another library's optimizer: no rule has a dot between names."""
        return fullmatch(_PATH, self.rule) is not None

    def with_values(self, values: dict[str, Any]) -> Self:
        """Return a copy with its parts replaced by name.

        `lr`, `weight_decay`, `weight_decay.kind`, `schedule.name` and `schedule.SETTING`,
        `training.batch_size`; all other names are hyperparameters.
        """
        rest = {name: value for name, value in values.items() if not name.startswith(SCHEDULE)}
        own: dict[str, Any] = {
            part: rest.pop(name) for name, part in _PARTS.items() if name in rest
        }
        if "batch_size" in own:
            own["batch_size"] = int(own["batch_size"])  # a choice among numbers is a float
        own["schedule"] = self._scheduled(values)
        return self.model_copy(update={**own, "hyperparameters": {**self.hyperparameters, **rest}})

    def _scheduled(self, values: dict[str, Any]) -> ScheduleSpec:
        name = values.get(SCHEDULE_NAME, self.schedule.name)
        kept = self.schedule.settings if name == self.schedule.name else {}
        settings = {
            key.removeprefix(SCHEDULE): value
            for key, value in values.items()
            if key.startswith(SCHEDULE) and key != SCHEDULE_NAME
        }
        return ScheduleSpec(name=name, settings={**kept, **settings})


class Proposal(Frozen):
    """A numbered candidate: what a searcher asks a worker to try. One proposal is one trial."""

    number: Whole = Field(ge=0)
    """The trial's number in its job: 0, 1, 2 … in the order of asking."""

    candidate: Candidate
    stage: Stage = Stage.SEARCH
    task: str | None = None
    """The task it is tried on, where that is not its job's."""

    label: str | None = None
    """The catalogue's name of a hand-made rule; None for a rule that was searched."""

    parameters: dict[str, Real | Whole | str] = {}
    """The point of the search space (tune jobs)."""

    behaviour: str | None = None
    """What the candidate does, by name (`search.identity`): those that share it train alike under
    the same conditions. None where nobody asks."""

    memo: dict[str, Any] = {}
    """What the searcher needs to learn from the answer (say, its tokens); opaque to others."""
