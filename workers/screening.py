"""Judging a rule without training it: static checks, then two to ten steps on small quadratics.

The quadratics ½ Σ hᵢ (wᵢ - oᵢ)² have offsets o of both signs, curvatures h of three orders of
magnitude and noisy gradients; a rule steps on all of them at all rates as one small tensor, with
random numbers that all rules share. What descends does so on every quadratic of a scale; what just
moves comes nearer to some by chance. ENOS (Wang et al. 2022, arXiv 2209.13575) rejects alike what
is constant, has one sign or leaves the gradient's direction.

`python -m tests.benchmarks.bench_discovery` measures what is rejected, at what cost, and what of it
would have beaten SGD; the bounds below come from there.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from dsl.candidate import Candidate
from dsl.canonical import canonical_text
from dsl.columns import Columns, moments
from dsl.functions import Functions
from dsl.interpreter import Interpreter
from dsl.validate import program_of
from optimizers.catalogue import CATALOGUE
from workers.draws import Draws, Place
from workers.population import train_population
from workers.protocol import GRID, Protocol
from workers.rows import check_decay, numbers
from workers.tasks.task import Task

STEPS, TOTAL = 10, 100
"""Steps that are taken, and what the rule is told of their number (T)."""

SIZE, COUNT = 16, 8
"""Weights of a quadratic, and quadratics of each scale."""

SCALES = ((0.1, 1.0), (1.0, 1.0), (10.0, 1.0))
"""Factors of gradients and of distances: rules that work, work on at least one pair."""

STEEP = (100.0, 0.001)
"""Such a pair besides, where a task's first gradients are steep: beside badly scaled features an
update of 0.00001 may be all that is needed."""

STEEPNESS = 1.0
"""A gradient above this is steep; those of the other pairs are hardly larger."""

DESCENT = 0.95
"""What share of the first loss a rule must get below, on every quadratic of one scale."""

EARLY, HOPELESS = 2, 0.99
"""After so many steps a rule that is not below this share of the first loss is given up: all but
one in twenty of those that do not descend. A third step would reject hardly another rule."""

_TIMES = tuple(range(STEPS))

SHOWN = 5
"""Steps of which only the update is looked at, where descent does not matter."""


@torch.no_grad()
def fault(
    candidate: Candidate, learning_rates: Sequence[float] = GRID, *, steep: bool = False
) -> str | None:
    """Return why a candidate need not be trained, or None.

    Faults: the rule does not parse or fails the language's checks; a hyperparameter that it does
    not have, or a weight decay that no rule has; on a small probe the update is not finite, zero,
    or equal for all weights. Where the candidate names no learning rate, also: the update never
    changes its sign, or at no rate it descends on small quadratics. Who names the rate may want to
    see just that, and rules of the catalogue have shown elsewhere that they train.

    Args:
        candidate: the rule with its numbers.
        learning_rates: the protocol's grid; the probe tries it and `GRID`.
        steep: what `steep` says of the task.
    """
    rates = (0.0, *sorted({*GRID, *learning_rates}))
    strict = candidate.lr is None and candidate.rule not in _named()
    try:
        check_decay(candidate)
        return _Probe.at(rates, (*SCALES, STEEP) if steep else SCALES).fault(candidate, strict)
    except ValueError as error:  # a RuleError is one
        return str(error)


@cache
def _named() -> frozenset[str]:
    rules = [entry.rule for entry in CATALOGUE.values()]
    return frozenset(rules + [canonical_text(rule) for rule in rules])


def steep(task: Task) -> bool:
    """Return whether a gradient at the task's first weights is larger than `STEEPNESS`."""
    rate, first = 1e-3, dict(task.initial(0).named_parameters())
    moved = train_population(
        task, [Candidate(rule="g", lr=rate)], Protocol(steps=1), points=1, keep_weights=True
    )[0].weights
    if moved is None:  # so steep that the first step diverged
        return True
    return any(
        float((moved[name] - value.detach()).abs().max()) > STEEPNESS * rate
        for name, value in first.items()
    )


class _Probe:
    """The quadratics at every rate, row after row; those at the rate 0 show the update itself."""

    @staticmethod
    @lru_cache(maxsize=16)
    def at(rates: tuple[float, ...], scales: tuple[tuple[float, float], ...]) -> "_Probe":
        """Return the probe at these rates, the first of them 0, in ascending order."""
        return _Probe(rates, scales)

    def __init__(self, rates: tuple[float, ...], scales: tuple[tuple[float, float], ...]) -> None:
        generator = torch.Generator().manual_seed(0)
        shape, times = (COUNT, SIZE), len(rates) * len(scales)
        curvature = 0.03 * 10.0 ** torch.rand(shape, generator=generator)
        offset = 0.3 * torch.randn(shape, generator=generator)
        weights = 0.1 * torch.randn(shape, generator=generator)
        noise = 0.01 * torch.randn(STEPS, *shape, generator=generator)
        self._rates, self._rows = rates, COUNT * len(scales)
        factors = torch.tensor(scales).repeat_interleave(COUNT, 0).repeat(len(rates), 1)
        steepness, distance = factors[:, :1], factors[:, 1:]
        self._offset = offset.repeat(times, 1) * distance
        self._weights = weights.repeat(times, 1) * distance
        self._curvature = curvature.repeat(times, 1) * steepness / distance
        # a gradient is this and curvature times weights
        self._pull = noise.repeat(1, times, 1) * steepness - self._curvature * self._offset
        self._rate = torch.tensor(rates).repeat_interleave(self._rows).unsqueeze(1)
        self._first = self._loss(self._weights)
        self._draws, self._at = Draws(list(range(self._rows)) * len(rates), self._weights), 0
        tensor = {
            "norm": lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
            "mean": lambda x: x.mean(1, keepdim=True),
            "rms": lambda x: x.square().mean(1, keepdim=True).sqrt(),
            "uniform": self._drawn("uniform"),
            "normal": self._drawn("normal"),
            "draw": None,
            "g": None,
        }
        self._functions = Functions(tensor, {"now": moments(_TIMES), "T": TOTAL})

    def _loss(self, weights: Tensor) -> Tensor:
        squares = (weights - self._offset).square_()
        return squares.mul_(self._curvature).sum(1)

    def fault(self, candidate: Candidate, strict: bool) -> str | None:
        """Step, and return what is wrong; signs and descent matter where it is strict."""
        rule = self._rule(candidate)
        weights, shown = self._weights.clone(), COUNT * len(SCALES)
        seen = torch.empty(STEPS, shown, SIZE)
        lowest, begun = 0.0, 0
        for done in (EARLY, STEPS) if strict else (SHOWN,):
            for at in range(begun, done):
                gradients = torch.addcmul(self._pull[at], self._curvature, weights)
                self._at = at
                update = rule.step(gradients, weights)
                seen[at] = update[:shown]
                weights.addcmul_(self._rate, update, value=-1)
            begun = done
            found = _fault_of_updates(seen[:done], strict)
            if found or not strict:
                return found
            lowest = self._lowest(weights)
            if lowest > (HOPELESS if done < STEPS else DESCENT):
                break
        else:
            return None
        rates = f"{self._rates[1]:g} to {self._rates[-1]:g}"
        # rounded up: what is not below the bound is not shown as if it were on it
        reached = (
            f"the lowest is {math.ceil(lowest * 1000) / 10:.5g}%"
            if math.isfinite(lowest)
            else "no loss is a finite number"
        )
        return (
            f"it does not descend: on small quadratics no learning rate from {rates} brings the "
            f"loss below {DESCENT:.0%} of its start; after {done} steps {reached}"
        )

    def _rule(self, candidate: Candidate) -> Interpreter:
        program = program_of(candidate.rule)
        values = numbers(candidate, program.hyperparameters)
        columns = Columns(program, values, _TIMES, TOTAL, self._functions)
        return Interpreter(columns, self._weights)

    def _drawn(self, kind: str) -> Callable[..., Any]:
        """Return what draws the numbers of the step, all rules the same."""
        draw = getattr(self._draws, kind)

        @cache
        def at(step: int, index: int) -> Any:
            return draw(Place(self._draws.of_row, step), index, self._weights)

        return lambda _, index, like: at(self._at, index)

    def _lowest(self, weights: Tensor) -> float:
        """Return the share of the first loss at the best rate and scale, on its worst quadratic."""
        shares = self._loss(weights).div_(self._first).nan_to_num_(torch.inf, torch.inf)
        worst = shares.view(-1, COUNT).amax(1)
        return float(worst[self._rows // COUNT :].min())


def _fault_of_updates(updates: Tensor, signs: bool) -> str | None:
    """Return what is wrong with the updates [steps, rows, weights] of weights that stay."""
    low, high = updates.aminmax(dim=2)
    lowest, highest = float(low.min()), float(high.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        finite = torch.isfinite(updates).flatten(1).all(1).tolist()
        return f"the update is not finite at step {finite.index(False)} of a probe"
    if bool((low == high).all()):
        zero = lowest == highest == 0
        return "the update is " + (
            "zero on a probe" if zero else "the same for every weight of a probe"
        )
    if signs and (lowest >= 0 or highest <= 0):
        sign = "negative" if lowest >= 0 else "positive"
        return f"the update is never {sign} on a probe, whatever the gradient's sign"
    return None
