"""Several objectives and constraints, asked of every sampler that can search them."""

import pytest
from optuna.trial import TrialState as OptunaState

from dsl.candidate import Candidate, Proposal
from dsl.figures import Constraint
from dsl.outcome import Outcome, TrialState
from search.aims import BROKEN, Aims, Lesson
from search.sampler_settings import CMAES
from search.settings import Objective
from search.space import Float, SearchSpace
from search.tuning import OptunaStrategy
from search.warm_start import KnownTrial
from tests.search.test_tuning_samplers import SAMPLERS

LOSS, COST = Objective(), Objective(metric="cost_seconds")
ACCURATE = Constraint(metric="validation_accuracy", at_least=0.5)
SPACE: SearchSpace = {
    "lr": Float(low=0.01, high=1.0, step=0.01),
    "beta": Float(low=0.0, high=1.0, step=0.01),
}


def tuner(name: str, budget: int = 36, known: tuple[KnownTrial, ...] = ()) -> OptunaStrategy:
    base = Candidate(rule="g")
    return OptunaStrategy(
        SPACE, SAMPLERS[name], LOSS, budget, base, 0, 6, (), known,
        others=[COST], constraints=[ACCURATE],
    )  # fmt: skip


def judged(proposal: Proposal) -> Outcome:
    """A loss that falls and a cost that rises with lr; beta costs both; above 0.9 it diverges."""
    lr, beta = (float(proposal.parameters[name]) for name in ("lr", "beta"))
    if lr > 0.9:
        return Outcome(number=proposal.number, state=TrialState.INFEASIBLE, reason="diverged")
    accuracy = lr - beta / 4
    state = TrialState.COMPLETE if accuracy >= 0.5 else TrialState.INFEASIBLE
    metrics = {"validation_loss": 1 - lr + beta, "validation_accuracy": accuracy}
    return Outcome(number=proposal.number, state=state, metrics=metrics, cost_seconds=lr + beta)


def rounds(strategy: OptunaStrategy, count: int) -> list[tuple[Proposal, Outcome | None]]:
    rows: list[tuple[Proposal, Outcome | None]] = []
    for _ in range(count):
        asked = strategy.ask(6)
        told = [judged(proposal) for proposal in asked]
        strategy.tell(told)
        rows += zip(asked, told, strict=True)
    return rows


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "cmaes"])
def test_a_front_is_searched_and_a_restart_changes_nothing(name: str) -> None:
    strategy = tuner(name)
    rows = rounds(strategy, 2 if name == "gp" else 4)
    for (_, outcome), trial in zip(rows, strategy._study.trials, strict=True):
        assert outcome is not None
        if trial.state is OptunaState.COMPLETE and outcome.metrics:
            assert trial.values == [outcome.metrics["validation_loss"], outcome.cost_seconds]
            ((told, limit),) = trial.constraints.items()
            assert told == "validation_accuracy >= 0.5"
            assert (limit > 0) is (outcome.state is TrialState.INFEASIBLE)
    again = tuner(name)
    again.restore(rows, None)
    count = 1 if name == "gp" else 6  # it takes a second for a point
    assert again.ask(count) == strategy.ask(count)


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_a_front_of_what_keeps_the_bounds_is_found_sooner_than_at_random(name: str) -> None:
    def kept(which: str) -> int:
        rows = rounds(tuner(which, 72), 12)[36:]
        good = [o for _, o in rows if o is not None and o.state is TrialState.COMPLETE]
        return sum(o.metrics["validation_loss"] + o.cost_seconds < 1.25 for o in good)

    assert kept(name) > 1.2 * kept("random")


def test_one_that_diverged_is_worse_than_any_that_breaks_bounds() -> None:
    aims = Aims([LOSS], [ACCURATE, Constraint(metric="step", at_most=10)])
    awful = {"validation_loss": 9.0, "validation_accuracy": -1e9, "step": 1e9}
    assert 1.9 < sum(aims.of(awful).limits.values()) < aims.broken
    assert not aims.of(awful).feasible
    assert aims.of(awful | {"validation_accuracy": 0.5, "step": 10.0}).feasible
    strategy = tuner("tpe")
    strategy.ask(1)
    strategy.tell([Outcome(number=0, state=TrialState.INFEASIBLE, reason="diverged")])
    assert strategy._study.trials[0].constraints == {BROKEN: 2.0}


def test_the_worst_is_worst_in_every_objective() -> None:
    aims = Aims([LOSS, Objective(metric="validation_accuracy", direction="maximize")])
    one, other = Lesson([0.5, 0.1], {}), Lesson([0.4, 0.05], {})
    assert aims.worse(one, other).values == [0.5, 0.05]
    assert aims.worse(None, other) == other


def test_cmaes_is_told_the_worst_of_what_breaks_a_bound() -> None:
    base = Candidate(rule="g")
    bounded = [Constraint(metric="step", at_most=10)]
    strategy = OptunaStrategy(SPACE, CMAES(), LOSS, 9, base, 0, constraints=bounded)
    strategy.ask(3)
    steps, losses = (10, 20, 10), (0.5, 0.1, 0.7)
    states = (TrialState.COMPLETE, TrialState.INFEASIBLE, TrialState.COMPLETE)
    for number, (step, loss, state) in enumerate(zip(steps, losses, states, strict=True)):
        metrics = {"validation_loss": loss}
        strategy.tell([Outcome(number=number, state=state, step=step, metrics=metrics)])
    assert [trial.value for trial in strategy._study.trials] == [0.5, 0.5, 0.7]


def test_known_trials_bring_the_figures_that_the_aims_need() -> None:
    point, cost = {"lr": 0.1, "beta": 0.0}, {"cost_seconds": 2.0, "validation_accuracy": 0.25}
    known = (
        KnownTrial(parameters=point, value=0.5, figures=cost),
        KnownTrial(parameters=point, value=None),
    )
    whole, broken = tuner("tpe", known=known)._study.trials
    assert whole.values == [0.5, 2.0]
    assert whole.constraints == {"validation_accuracy >= 0.5": 0.25 / 1.25}
    assert (broken.state, broken.constraints) == (OptunaState.PRUNED, {BROKEN: 2.0})
