"""The Optuna searcher: chooses the numbers of a fixed rule, a whole population at a time."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from dsl.candidate import Candidate, Proposal
from dsl.figures import Constraint
from dsl.outcome import Outcome, TrialState
from search.aims import BROKEN, Aims, Lesson
from search.identity import spelled
from search.ledger import Ledger, check_count, teaches
from search.sampler_settings import CMAES, GP, NSGA2, NSGA3, QMC, SamplerSettings
from search.samplers import distribution, sampler_of, size
from search.settings import Objective
from search.space import Point, SearchSpace, in_order, is_active
from search.strategy import History
from search.warm_start import KnownTrial

logging.getLogger("optuna").setLevel(logging.WARNING)  # a line per trial helps nobody here

_KEEPING = CMAES | NSGA2 | NSGA3 | QMC
"""Samplers that note on trials and study where they stand: generation, distribution, place."""

_VALUES_ONLY = GP | CMAES | NSGA2 | NSGA3
"""Samplers that learn from values alone: to them a trial that diverged is as bad as the worst."""

_UNBOUNDED = CMAES
"""Samplers that know no constraints: to them what violates one is as bad as the worst, too."""


class OptunaStrategy:
    """A strategy that asks an Optuna study held in memory and rebuilt from rows.

    Trial n of the study is proposal n, always, counted from the first that is not known from an
    earlier search. The study sees the true state of each trial:

    - COMPLETE with its values, one for each objective; PRUNED with its value at its step.
    - INFEASIBLE as a trial that violates a constraint: the job's own, with its values and by how
      much; or, where it diverged, one that stands for that. TPE then ranks it below every other
      and leaves its neighbourhood, where FAIL would make TPE blind to it; no value is made up.
      Samplers that learn from values alone are told the worst values known, else they would come
      back to where training diverges.
    - An abandoned one as FAIL, which teaches nothing, as it should: the fault was ours.
    - Outstanding ones as RUNNING: TPE counts them among the bad (constant liar) and a Gaussian
      process integrates over them, which keeps a population asked at once from collapsing onto
      one point. None stays so for ever.

    A sampler is made for each call of `ask`, seeded by the job's seed and the first number. What
    it notes in the study goes into the proposal's memo. So the rows alone rebuild the search and
    `snapshot` has nothing to say.
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: SamplerSettings,
        objective: Objective,
        budget: int,
        base: Candidate,
        seed: int,
        population: int = 1,
        points: Sequence[Point] = (),
        known: Sequence[KnownTrial] = (),
        *,
        others: Sequence[Objective] = (),
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """Search `space` for the values that make `base` best, in `budget` trials.

        An exhaustive sampler ends earlier where its points do. `population` is how many points
        are asked at once, for samplers that have generations. `points` are asked first; what one
        leaves out the sampler chooses. A job that goes on may have more of them than before; those
        that come when the budget is spent are asked all the same.
        `known` trials of an earlier search teach the sampler before the first is asked. With
        `others` beside the objective the search is for the front of all; samplers but CMA-ES can.
        """
        exhausted = size(sampler, space)
        self.objective = objective
        self.budget = budget if exhausted is None else min(budget, exhausted)
        self.base = base
        self.seed = seed
        self._settings = sampler
        self._population = population
        self._space = {name: space[name] for name in in_order(space)}
        self._distributions = {name: distribution(each) for name, each in self._space.items()}
        self._storage = InMemoryStorage()
        self._aims = Aims((objective, *others), constraints)
        directions = self._aims.directions
        self._study = optuna.create_study(storage=self._storage, directions=directions)
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._worst: Lesson | None = None
        self._points = dict(enumerate(points))
        self._places = len(points)
        self._first = len(known)
        for trial in known:
            self._study.add_trial(self._learnt(trial))
        self._ledger = Ledger()

    def ask(self, count: int) -> list[Proposal]:
        """See `Strategy.ask`."""
        check_count(count)
        proposals = self._ledger.take_again(count)
        left = max(self.budget - self._ledger.next, len(self._points))
        count = min(count - len(proposals), left)
        if count > 0:
            self._study.sampler = sampler_of(
                self._settings, self._distributions, self.seed, self._ledger.next, self._population
            )
            proposals += [self._ledger.open(self._draw()) for _ in range(count)]
        return proposals

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """See `Strategy.tell`.

        Raises:
            ValueError: a number was never asked, or an outcome that says COMPLETE or PRUNED
                lacks the objective's metric.
        """
        lessons = [self._aims.lesson(outcome) for outcome in outcomes]
        for outcome in outcomes:
            self._ledger.check(outcome.number)
        for outcome, lesson in zip(outcomes, lessons, strict=True):
            if self._ledger.settle(outcome.number) is not None:
                self._settle(outcome, lesson)

    def abandon(self, numbers: Sequence[int]) -> None:
        """See `Strategy.abandon`."""
        for proposal in self._ledger.settle_all(numbers):
            self._study.tell(self._first + proposal.number, state=OptunaState.FAIL)

    def restore(self, history: History, snapshot: bytes | None) -> None:
        """See `Strategy.restore`; the snapshot is not needed."""
        self._ledger.restore(history)
        number, notes = 0, dict[str, Any]()
        for proposal, outcome in history:
            for _ in range(number, proposal.number):
                # Brute force takes what was tried from failed trials too: a known point.
                self._study.add_trial(self._rebuilt(proposal, OptunaState.FAIL))
            self._study.add_trial(self._rebuilt(proposal, OptunaState.RUNNING))
            if outcome is not None:
                self._settle(outcome, self._aims.lesson(outcome))
            number = proposal.number + 1
            notes.update(proposal.memo.get("study", {}))
            self._points.pop(proposal.memo.get("point", -1), None)
        self._restore_notes(notes)

    def enqueue(self, points: Sequence[Point]) -> None:
        """Have the job's `points` asked, all that it ever had, of which the first are known."""
        self._points.update(list(enumerate(points))[self._places :])
        self._places = max(self._places, len(points))

    def snapshot(self) -> bytes | None:
        """Return None: the rows say it all."""
        return None

    @property
    def finished(self) -> bool:
        """See `Strategy.finished`."""
        asked = self._ledger.next >= self.budget and not self._points
        return asked and not self._ledger.outstanding

    def _draw(self) -> Proposal:
        before = dict(self._storage.get_study_system_attrs(self._study_id))
        place = next(iter(self._points), None)
        if place is not None:
            self._study.enqueue_trial(self._points.pop(place))
        trial = self._study.ask()
        for name, parameter in self._space.items():
            if is_active(parameter, trial.params):
                _suggest(trial, name, self._distributions[name])
        number = trial.number - self._first
        candidate = self.base.with_values(trial.params)
        return Proposal(
            number=number,
            candidate=candidate,
            parameters=trial.params,
            behaviour=spelled(candidate),
            memo=self._memo(trial.number, before) | ({} if place is None else {"point": place}),
        )

    def _memo(self, number: int, before: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the sampler noted on a trial, and on the study since `before`."""
        if not isinstance(self._settings, _KEEPING):
            return {}
        after = self._storage.get_study_system_attrs(self._study_id)
        notes = {
            "trial": dict(self._storage.get_trial_system_attrs(number)),
            "study": {key: value for key, value in after.items() if before.get(key) != value},
        }
        return {where: noted for where, noted in notes.items() if noted}

    def _settle(self, outcome: Outcome, lesson: Lesson) -> None:
        """Tell the study what came of a trial that is RUNNING in it."""
        number = self._first + outcome.number
        if not teaches(outcome):
            self._study.tell(number, state=OptunaState.FAIL)
            return
        lesson = self._as_learnt(lesson)
        trial = self._trial(number)
        for name, limit in lesson.limits.items():
            trial.set_constraint(name, limit)
        if lesson.values is None and isinstance(self._settings, _VALUES_ONLY):
            self._study.tell(number, state=OptunaState.FAIL)
        elif lesson.values is None:
            trial.set_constraint(BROKEN, self._aims.broken)
            self._study.tell(number, state=OptunaState.PRUNED)
        elif outcome.state is not TrialState.PRUNED:
            self._study.tell(number, lesson.values)
        else:
            trial.report(lesson.values[0], outcome.step)
            self._study.tell(number, state=OptunaState.PRUNED)

    def _as_learnt(self, lesson: Lesson) -> Lesson:
        """Return what the sampler can make of a lesson, and remember the worst there was."""
        if isinstance(self._settings, _UNBOUNDED):
            lesson = Lesson(lesson.values if lesson.feasible else None, {})
        if lesson.values is not None:
            self._worst = self._aims.worse(self._worst, lesson)
        elif self._worst is not None and isinstance(self._settings, _VALUES_ONLY):
            return self._worst
        return lesson

    def _learnt(self, trial: KnownTrial) -> optuna.trial.FrozenTrial:
        own = {} if trial.value is None else {self.objective.metric: trial.value}
        lesson = self._as_learnt(self._aims.of({**trial.figures, **own}))
        broken = lesson.values is None
        return create_trial(
            state=OptunaState.PRUNED if broken else OptunaState.COMPLETE,
            values=lesson.values,
            params=dict(trial.parameters),
            distributions={name: self._distributions[name] for name in trial.parameters},
            constraints={BROKEN: self._aims.broken} if broken else lesson.limits,
        )

    def _trial(self, number: int) -> optuna.Trial:
        # In a study held in memory and used by nobody else, a trial's id is its number.
        return optuna.Trial(self._study, number)

    def _restore_notes(self, notes: Mapping[str, Any]) -> None:
        states = [trial.state for trial in self._study.get_trials(deepcopy=False)]
        for key, value in notes.items():
            # A generation's parents, by number; where one is lost they are chosen again.
            parents = value if isinstance(value, list) else []
            if all(states[number] is OptunaState.COMPLETE for number in parents):
                self._storage.set_study_system_attr(self._study_id, key, value)

    def _rebuilt(self, proposal: Proposal, state: OptunaState) -> optuna.trial.FrozenTrial:
        """Return the trial of a proposal as it was asked, with its sampler's notes."""
        return create_trial(
            state=state,
            params=dict(proposal.parameters),
            distributions={name: self._distributions[name] for name in proposal.parameters},
            system_attrs=proposal.memo.get("trial", {}),
        )


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> None:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_float(name, low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            trial.suggest_int(name, low, high, log=log, step=step)
        case CategoricalDistribution(choices=choices):
            trial.suggest_categorical(name, choices)
