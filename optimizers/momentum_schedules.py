"""Momentum schedules: β_t as a pure function of the step, and a scheduler that sets it.

The same schedules can be said in the rule itself (`trace(g, demon(beta))`, `trace(g, mu * ld)`),
where bias corrections use the true product of the betas. `MomentumScheduler` changes a
hyperparameter from outside instead, as torch's OneCycleLR does with `momentum` and `betas[0]`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optimizers.rule import RuleOptimizer
from optimizers.schedules import one_cycle

_PAPER = "Chen, Wolfe, Li & Kyrillidis 2019, Demon, arXiv:1910.04952"


@dataclass(frozen=True)
class MomentumSchedule:
    """A momentum schedule by name."""

    name: str
    function: Callable[[float, float, Mapping[str, float]], float]
    """(first β, fraction of the run in [0, 1], settings) → β_t."""

    settings: Mapping[str, float]
    paper: str

    def __call__(self, t: float, total: int, initial: float = 0.9, **settings: float) -> float:
        """Return β_t at step `t` (from 0) of `total`, starting from `initial` in [0, 1).

        Raises:
            ValueError: A setting is unknown, or a value out of range.
        """
        for name in settings:
            if name not in self.settings:
                raise ValueError(
                    f"momentum schedule '{self.name}' has no setting '{name}'; "
                    f"allowed: {', '.join(sorted(self.settings)) or 'none'}"
                )
        if not 0 <= initial < 1:
            raise ValueError(f"momentum = {initial}, but it must be in [0, 1)")
        if total < 1:
            raise ValueError(f"a schedule needs at least 1 step, not {total}")
        values = {**self.settings, **settings, "total": float(total)}
        return self.function(initial, min(t / total, 1.0), values)


def _demon(initial: float, x: float, s: Mapping[str, float]) -> float:
    rest = 1 - x
    return initial * rest / ((1 - initial) + initial * rest)


def _linear(initial: float, x: float, s: Mapping[str, float]) -> float:
    return initial * (1 - x)


def _cosine(initial: float, x: float, s: Mapping[str, float]) -> float:
    return initial * 0.5 * (1 + math.cos(math.pi * x))


def _exponential(initial: float, x: float, s: Mapping[str, float]) -> float:
    return initial * math.exp(-s["k"] * x)


def _step(initial: float, x: float, s: Mapping[str, float]) -> float:
    passed = sum(x >= mark for mark in (s["first"], s["second"]))
    return float(initial * s["gamma"] ** passed)


def _one_cycle(initial: float, x: float, s: Mapping[str, float]) -> float:
    total = s["total"]
    return one_cycle(x * total, int(total), s["pct_start"], (initial, s["low"], initial))


def _row(name: str, function: Callable[..., float], paper: str, **own: float) -> MomentumSchedule:
    return MomentumSchedule(name, function, MappingProxyType(own), paper)


MOMENTUM_SCHEDULES: dict[str, MomentumSchedule] = {
    row.name: row
    for row in (
        _row("demon", _demon, f"{_PAPER}, eq. 1"),
        _row("linear", _linear, f"{_PAPER}, section 4"),
        _row("cosine", _cosine, f"{_PAPER}, section 4"),
        _row("exponential", _exponential, f"{_PAPER}, section 4", k=5.0),
        _row("step", _step, f"{_PAPER}, section 4", gamma=0.1, first=0.5, second=0.75),
        _row(
            "one_cycle",
            _one_cycle,
            "Smith 2018, A Disciplined Approach, arXiv:1803.09820; as torch's OneCycleLR",
            low=0.85,
            pct_start=0.3,
        ),
    )
}
"""Name → schedule. `first` and `second` of `step` are fractions of the run."""


class MomentumScheduler:
    """Set one hyperparameter of a `RuleOptimizer` by a momentum schedule.

    Call `step` after every `optimizer.step`, as with torch's schedulers; the first value is set at
    once. Each group starts from its own value. To resume, build it as before, then load its state
    and the optimizer's, in either order.

    Args:
        optimizer: Whose groups are changed.
        name: Of `MOMENTUM_SCHEDULES`.
        total_steps: T.
        hyperparameter: Say `mu`, `beta` or `beta1`.
        **settings: The schedule's.

    Raises:
        ValueError: A name is unknown, or a value out of range.
    """

    def __init__(
        self,
        optimizer: RuleOptimizer,
        name: str,
        total_steps: int,
        hyperparameter: str = "mu",
        **settings: float,
    ) -> None:
        if name not in MOMENTUM_SCHEDULES:
            raise ValueError(
                f"there is no momentum schedule '{name}'; "
                f"allowed: {', '.join(sorted(MOMENTUM_SCHEDULES))}"
            )
        for group in optimizer.param_groups:
            if hyperparameter not in group:
                raise ValueError(f"the rule has no hyperparameter '{hyperparameter}'")
        self.optimizer, self.hyperparameter = optimizer, hyperparameter
        self.schedule, self.settings = MOMENTUM_SCHEDULES[name], settings
        self.total_steps, self.last_step = total_steps, 0
        self.initial = [float(group[hyperparameter]) for group in optimizer.param_groups]
        self._set()

    def step(self) -> None:
        """Go to the next step."""
        self.last_step += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on: the step and each group's first value."""
        return {"last_step": self.last_step, "initial": list(self.initial)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on at the saved step, from the saved first values.

        Raises:
            ValueError: The state is of an optimizer with another number of param groups.
        """
        if len(state_dict["initial"]) != len(self.initial):
            raise ValueError(
                f"the state is of {len(state_dict['initial'])} param groups, the optimizer has "
                f"{len(self.initial)}"
            )
        self.initial = list(state_dict["initial"])
        self.last_step = state_dict["last_step"]
        self._set()

    def _set(self) -> None:
        for group, initial in zip(self.optimizer.param_groups, self.initial, strict=True):
            group[self.hyperparameter] = self.schedule(
                self.last_step, self.total_steps, initial, **self.settings
            )
