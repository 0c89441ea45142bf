"""Learning-rate schedules as pure functions: the multiplier η_t of the base learning rate.

`t` counts steps from 0 and `total` is the run's number of steps T; beyond the end, schedules that
end stay where they are. Lengths (`step_size`, `T_0`, `milestone_1`, `milestone_2` …) are in epochs
of `steps_per_epoch` steps, which is 1 unless it is set. A length of 0 is chosen from the run: a
third of it for `step`, a tenth for the triangles, all of it for `sgdr`; `multistep` without
milestones has them at 1/2 and 3/4; `exponential` with gamma 0 falls to 1/100.

Every schedule takes `warmup`, a number of steps W in which the multiplier rises linearly,
η_t = s + (1 - s)(t + 1)/W times the schedule's first value (s = `warmup_start`); then the schedule
runs over the remaining T - W steps. Noam has its own `warmup`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dsl.candidate import ScheduleSpec

Multiplier = Callable[[float, int, Mapping[str, float]], float]
"""(t, total, settings) → η_t."""

WARMUP: Mapping[str, float] = MappingProxyType({"warmup": 0.0, "warmup_start": 0.0})
"""Settings of every schedule but Noam, which warms up by itself."""

_OPEN_SETTINGS = {"multistep": "milestone_"}
"""Schedules that take any number of settings with this prefix."""


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule by name."""

    name: str
    function: Multiplier
    own: Mapping[str, float]
    paper: str

    @property
    def settings(self) -> dict[str, float]:
        """Settings by name with their defaults."""
        return {**self.own} if "warmup" in self.own else {**self.own, **WARMUP}

    def __call__(self, t: float, total: int, **settings: float) -> float:
        """Return η_t at step `t` (from 0) of a run of `total` steps.

        Raises:
            ValueError: for a setting that the schedule does not have, or a value out of range.
        """
        return self._at(t, total, self._checked(settings))

    def multipliers(self, total: int, **settings: float) -> list[float]:
        """Return η_t for t = 0 … `total` - 1.

        Raises:
            ValueError: as `__call__`.
        """
        values = self._checked(settings)
        return [self._at(t, total, values) for t in range(total)]

    def _at(self, t: float, total: int, values: Mapping[str, float]) -> float:
        if total < 1:
            raise ValueError(f"a schedule needs at least 1 step, not {total}")
        if "warmup" in self.own or values["warmup"] <= 0:
            return self.function(t, total, values)
        warmup, start = values["warmup"], values["warmup_start"]
        rest = max(total - math.ceil(warmup), 1)
        if t >= warmup:
            return self.function(t - warmup, rest, values)
        return self.function(0, rest, values) * (start + (1 - start) * min((t + 1) / warmup, 1.0))

    def _checked(self, settings: Mapping[str, float]) -> dict[str, float]:
        defaults = self.settings
        prefix = _OPEN_SETTINGS.get(self.name)
        for name, value in settings.items():
            if name not in defaults and not (prefix and name.startswith(prefix)):
                allowed = [*sorted(defaults), *([f"{prefix}1, {prefix}2 …"] if prefix else [])]
                raise ValueError(
                    f"schedule '{self.name}' has no setting '{name}'; allowed: {', '.join(allowed)}"
                )
            if not math.isfinite(value):
                raise ValueError(f"schedule '{self.name}': {name} = {value} is not a finite number")
            low = _LOWEST.get(name, 0.0)
            high = _HIGHEST.get(name, math.inf)
            if not low <= value <= high:
                raise ValueError(
                    f"schedule '{self.name}': {name} = {value} is outside {low:g} … {high:g}"
                )
        return {**defaults, **settings}


_LOWEST = {
    "T_mult": 1.0,
    "steps_per_epoch": 1.0,
    "width": 1.0,
    "div_factor": 1.0,
    "final_div_factor": 1.0,
}
"""Least values of settings; 0 for the others."""

_HIGHEST = {"T_mult": 1000.0, "gamma": 1.0, "pct_start": 1.0}
"""Greatest values; without bound for the others."""


def _length(s: Mapping[str, float], name: str, default: float) -> float:
    """Length `name` in steps; `default` where it is 0."""
    steps = s[name] * s["steps_per_epoch"]
    if 0 < steps < 1:
        raise ValueError(f"{name} = {s[name]} is less than one step; 0 chooses it from the run")
    return steps or max(default, 1.0)


def _constant(t: float, total: int, s: Mapping[str, float]) -> float:
    return 1.0


def _step(t: float, total: int, s: Mapping[str, float]) -> float:
    return float(s["gamma"] ** math.floor(t / _length(s, "step_size", math.ceil(total / 3))))


def _multistep(t: float, total: int, s: Mapping[str, float]) -> float:
    marks = [value for name, value in s.items() if name.startswith("milestone_")]
    marks = [mark * s["steps_per_epoch"] for mark in marks] or [total * 0.5, total * 0.75]
    return float(s["gamma"] ** sum(t >= mark for mark in marks))


def _exponential(t: float, total: int, s: Mapping[str, float]) -> float:
    if s["gamma"] == 0:
        return float(0.01 ** (t / total))
    return float(s["gamma"] ** (t / s["steps_per_epoch"]))


def _linear(t: float, total: int, s: Mapping[str, float]) -> float:
    return s["start"] + (s["end"] - s["start"]) * min(t / total, 1.0)


def _polynomial(t: float, total: int, s: Mapping[str, float]) -> float:
    return float(s["end"] + (1 - s["end"]) * (1 - min(t / total, 1.0)) ** s["power"])


def _anneal(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * fraction))


def _cosine(t: float, total: int, s: Mapping[str, float]) -> float:
    return _anneal(1.0, s["eta_min"], min(t / total, 1.0))


def restart(t: float, period: float, growth: float) -> tuple[int, float, float]:
    """Where step `t` stands among warm restarts (SGDR: T_0 = `period`, T_mult = `growth`).

    Returns:
        (cycle from 0, T_cur since its restart, its length T_i), in the units of `t`.
    """
    if growth == 1:
        cycle = math.floor(t / period)
        return cycle, t - cycle * period, period
    cycle = math.floor(math.log1p(t / period * (growth - 1)) / math.log(growth))
    # The logarithm may round a restart to the wrong side.
    while _begin(cycle + 1, period, growth) <= t:
        cycle += 1
    while cycle > 0 and _begin(cycle, period, growth) > t:
        cycle -= 1
    return cycle, t - _begin(cycle, period, growth), period * growth**cycle


def _begin(cycle: int, period: float, growth: float) -> float:
    return float(period * (growth**cycle - 1) / (growth - 1))


def _sgdr(t: float, total: int, s: Mapping[str, float]) -> float:
    period = _length(s, "T_0", total)
    _, current, length = restart(t, period, s["T_mult"])
    return _anneal(1.0, s["eta_min"], current / length)


def _triangle(t: float, total: int, s: Mapping[str, float]) -> tuple[int, float, float]:
    half = _length(s, "step_size", total / 10)
    cycle = math.floor(1 + t / (2 * half))
    return cycle, max(0.0, 1 - abs(t / half - 2 * cycle + 1)), 1 - s["base"]


def _triangular(t: float, total: int, s: Mapping[str, float]) -> float:
    _, height, amplitude = _triangle(t, total, s)
    return s["base"] + amplitude * height


def _triangular2(t: float, total: int, s: Mapping[str, float]) -> float:
    cycle, height, amplitude = _triangle(t, total, s)
    return float(s["base"] + amplitude * height / 2.0 ** (cycle - 1))


def _exp_range(t: float, total: int, s: Mapping[str, float]) -> float:
    _, height, amplitude = _triangle(t, total, s)
    return float(s["base"] + amplitude * height * s["gamma"] ** t)


def one_cycle(t: float, total: int, pct_start: float, values: tuple[float, float, float]) -> float:
    """Cosine from `values[0]` to `values[1]` in `pct_start` of the run, then to `values[2]`."""
    peak = pct_start * total - 1
    if t <= peak:
        return _anneal(values[0], values[1], t / peak if peak > 0 else 1.0)
    return _anneal(values[1], values[2], min((t - peak) / max(total - 1 - peak, 1e-12), 1.0))


def _one_cycle(t: float, total: int, s: Mapping[str, float]) -> float:
    start = 1 / s["div_factor"]
    return one_cycle(t, total, s["pct_start"], (start, 1.0, start / s["final_div_factor"]))


def _noam(t: float, total: int, s: Mapping[str, float]) -> float:
    n = t + 1
    rise = n * s["warmup"] ** -1.5 if s["warmup"] else math.inf
    return float(s["width"] ** -0.5 * min(n**-0.5, rise))


def _inverse_sqrt(t: float, total: int, s: Mapping[str, float]) -> float:
    return float((t + 1) ** -0.5)


_EPOCH = {"steps_per_epoch": 1.0}
_CYCLE = {"base": 0.1, "step_size": 0.0, **_EPOCH}
_CLR = "Smith 2017, Cyclical Learning Rates, arXiv:1506.01186"
_SGDR = "Loshchilov & Hutter 2017, SGDR, arXiv:1608.03983, eq. 5"


def _schedule(name: str, function: Multiplier, paper: str, **own: float) -> Schedule:
    return Schedule(name, function, MappingProxyType(own), paper)


SCHEDULES: dict[str, Schedule] = {
    schedule.name: schedule
    for schedule in (
        _schedule("constant", _constant, "-"),
        _schedule("step", _step, "as torch's StepLR", gamma=0.1, step_size=0.0, **_EPOCH),
        _schedule("multistep", _multistep, "as torch's MultiStepLR", gamma=0.1, **_EPOCH),
        _schedule("exponential", _exponential, "as torch's ExponentialLR", gamma=0.0, **_EPOCH),
        _schedule("linear", _linear, "as torch's LinearLR over the run", start=1.0, end=0.0),
        _schedule(
            "polynomial", _polynomial, "as torch's PolynomialLR over the run", power=2.0, end=0.0
        ),
        _schedule("cosine", _cosine, f"{_SGDR}, without restarts", eta_min=0.0),
        _schedule("sgdr", _sgdr, _SGDR, T_0=10.0, T_mult=2.0, eta_min=0.0, **_EPOCH),
        _schedule("triangular", _triangular, _CLR, **_CYCLE),
        _schedule("triangular2", _triangular2, _CLR, **_CYCLE),
        _schedule("exp_range", _exp_range, _CLR, gamma=0.999, **_CYCLE),
        _schedule(
            "one_cycle",
            _one_cycle,
            "Smith 2018, A Disciplined Approach, arXiv:1803.09820; as torch's OneCycleLR",
            pct_start=0.3,
            div_factor=25.0,
            final_div_factor=1e4,
        ),
        _schedule(
            "noam",
            _noam,
            "Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, eq. 3",
            width=512.0,
            warmup=4000.0,
        ),
        _schedule("inverse_sqrt", _inverse_sqrt, "1/√t, t from 1, as in AMSGrad's proofs"),
    )
}
"""Name → schedule. Settings and their defaults are in `.settings`."""


def schedule(spec: ScheduleSpec) -> Schedule:
    """Return the schedule that `spec` names.

    Raises:
        ValueError: for an unknown name or setting, or a value out of range.
    """
    if spec.name not in SCHEDULES:
        raise ValueError(
            f"there is no schedule '{spec.name}'; allowed: {', '.join(sorted(SCHEDULES))}"
        )
    found = SCHEDULES[spec.name]
    found(0, 1, **spec.settings)
    return found


def multipliers(spec: ScheduleSpec, steps: int) -> list[float]:
    """Return η_t for t = 0 … `steps` - 1, the run's number of steps being `steps`.

    Raises:
        ValueError: for an unknown name or setting, or a value out of range.
    """
    return schedule(spec).multipliers(steps, **spec.settings)
