"""The Optuna searcher: chooses the numbers of a fixed rule, a whole population at a time."""

import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from search.ledger import Ledger, check_count, derived_seed, teaches
from search.settings import Objective, SamplerSettings
from search.space import Categorical, Float, Int, Parameter, SearchSpace
from search.strategy import History

logging.getLogger("optuna").setLevel(logging.WARNING)  # a line per trial helps nobody here

BROKEN = "feasible"
"""Name of the constraint that INFEASIBLE trials violate."""


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution of a parameter.

    A `high` that no whole number of steps reaches is lowered to the last value that one does.
    """
    match parameter:
        case Float(low=low, high=high, log=log, step=step):
            if step is not None:
                # In decimals, as written: in binary 0.1 + 6 * 0.1 is not 0.7.
                first, width = Decimal(str(low)), Decimal(str(step))
                high = float(first + (Decimal(str(high)) - first) // width * width)
            return FloatDistribution(low, high, log=log, step=step)
        case Int(low=low, high=high, log=log, step=step):
            high = low + (high - low) // step * step
            return IntDistribution(low, high, log=log, step=step)
        case Categorical(choices=choices):
            return CategoricalDistribution(choices)


class OptunaStrategy:
    """A strategy that asks an Optuna study held in memory and rebuilt from rows.

    Trial n of the study is proposal n, always. The study sees the true state of each trial:

    - COMPLETE with its value; PRUNED with its value at its step.
    - INFEASIBLE as a trial that violates a constraint. TPE then ranks it below every other and
      leaves its neighbourhood, where FAIL would make TPE blind to it; no value is made up.
    - An abandoned one as FAIL, which teaches nothing, as it should: the fault was ours.
    - Outstanding ones as RUNNING: TPE counts them among the bad (constant liar), which keeps a
      population asked at once from collapsing onto one point. None stays so for ever.

    A sampler is made for each call of `ask`, seeded by the job's seed and the first number, so
    the rows alone rebuild the search and `snapshot` has nothing to say.
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: SamplerSettings,
        objective: Objective,
        budget: int,
        base: Candidate,
        seed: int,
    ) -> None:
        """Search `space` for the values that make `base` best, in `budget` trials."""
        self.objective = objective
        self.budget = budget
        self.base = base
        self.seed = seed
        self._settings = sampler
        self._distributions = {name: distribution(space[name]) for name in space}
        self._study: Study = optuna.create_study(direction=objective.direction)
        self._ledger = Ledger()

    def ask(self, count: int) -> list[Proposal]:
        """See `Strategy.ask`."""
        check_count(count)
        proposals = self._ledger.take_again(count)
        count = min(count - len(proposals), self.budget - self._ledger.next)
        if count > 0:
            self._study.sampler = self._sampler()
            proposals += [self._ledger.open(self._draw()) for _ in range(count)]
        return proposals

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """See `Strategy.tell`.

        Raises:
            ValueError: a number was never asked, or an outcome that says COMPLETE or PRUNED
                lacks the objective's metric.
        """
        values = [self._value(outcome) for outcome in outcomes]
        for outcome in outcomes:
            self._ledger.check(outcome.number)
        for outcome, value in zip(outcomes, values, strict=True):
            number = outcome.number
            if self._ledger.settle(number) is None:
                continue
            if not teaches(outcome):
                self._study.tell(number, state=OptunaState.FAIL)
                continue
            if outcome.state is TrialState.COMPLETE:
                self._study.tell(number, value)
                continue
            trial = self._trial(number)
            if value is None:
                trial.set_constraint(BROKEN, 1.0)
            else:
                trial.report(value, outcome.step)
            self._study.tell(number, state=OptunaState.PRUNED)

    def abandon(self, numbers: Sequence[int]) -> None:
        """See `Strategy.abandon`."""
        for proposal in self._ledger.settle_all(numbers):
            self._study.tell(proposal.number, state=OptunaState.FAIL)

    def restore(self, history: History, snapshot: bytes | None) -> None:
        """See `Strategy.restore`; the snapshot is not needed."""
        self._ledger.restore(history)
        number = 0
        for proposal, outcome in history:
            for _ in range(number, proposal.number):
                self._study.add_trial(create_trial(state=OptunaState.FAIL))
            self._study.add_trial(self._rebuilt(proposal, outcome))
            number = proposal.number + 1

    def snapshot(self) -> bytes | None:
        """Return None: the rows say it all."""
        return None

    @property
    def finished(self) -> bool:
        """See `Strategy.finished`."""
        return self._ledger.next >= self.budget and not self._ledger.outstanding

    def _sampler(self) -> BaseSampler:
        seed = derived_seed(self.seed, self._ledger.next)
        if self._settings.name == "random":
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, n_startup_trials=self._settings.startup_trials)

    def _draw(self) -> Proposal:
        trial = self._study.ask(self._distributions)
        return Proposal(
            number=trial.number,
            candidate=self.base.with_values(trial.params),
            parameters=trial.params,
        )

    def _trial(self, number: int) -> optuna.Trial:
        # In a study held in memory and used by nobody else, a trial's id is its number.
        return optuna.Trial(self._study, number)

    def _value(self, outcome: Outcome) -> float | None:
        if outcome.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return None
        metric = self.objective.metric
        if metric not in outcome.metrics:
            raise ValueError(
                f"trial {outcome.number} is {outcome.state} without the objective '{metric}'; "
                f"it has: {', '.join(sorted(outcome.metrics)) or 'no metrics'}"
            )
        return outcome.metrics[metric]

    def _rebuilt(self, proposal: Proposal, outcome: Outcome | None) -> optuna.trial.FrozenTrial:
        point: dict[str, Any] = {
            "params": dict(proposal.parameters),
            "distributions": self._distributions,
        }
        if outcome is None:
            return create_trial(state=OptunaState.RUNNING, **point)
        if not teaches(outcome):
            return create_trial(state=OptunaState.FAIL, **point)
        value = self._value(outcome)
        if outcome.state is TrialState.COMPLETE:
            return create_trial(state=OptunaState.COMPLETE, value=value, **point)
        if value is None:
            return create_trial(state=OptunaState.PRUNED, constraints={BROKEN: 1.0}, **point)
        return create_trial(
            state=OptunaState.PRUNED,
            value=value,
            intermediate_values={outcome.step: value},
            **point,
        )
