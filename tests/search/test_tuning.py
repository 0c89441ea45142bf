import logging
import statistics
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from pydantic import TypeAdapter

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from search.ledger import derived_seed
from search.sampler_settings import TPE, SamplerSettings
from search.samplers import distribution
from search.settings import Objective
from search.space import Categorical, Float, Int, SearchSpace
from search.strategy import Strategy
from search.tuning import OptunaStrategy
from tests.search.laws import run

SETTINGS: TypeAdapter[SamplerSettings] = TypeAdapter(SamplerSettings)
SPACE: SearchSpace = {
    "lr": Float(low=1e-5, high=1.0, log=True),
    "weight_decay": Float(low=1e-6, high=0.1, log=True),
}


def strategy(
    budget: int = 60, seed: int = 0, space: SearchSpace = SPACE, **settings: object
) -> OptunaStrategy:
    sampler = SETTINGS.validate_python(settings)
    return OptunaStrategy(space, sampler, Objective(), budget, Candidate(rule="adam"), seed)


def bowl(proposal: Proposal) -> Outcome:
    """A loss with its best at lr 0.01, weight decay 0.001; beyond lr 0.3 training diverges."""
    lr, decay = (float(proposal.parameters[name]) for name in ("lr", "weight_decay"))
    if lr > 0.3:
        return Outcome(number=proposal.number, state=TrialState.INFEASIBLE, reason="diverged")
    loss = 0.1 + abs(lr / 0.01 - 1) ** 0.5 + 0.1 * abs(decay / 0.001 - 1) ** 0.5
    return Outcome(
        number=proposal.number,
        state=TrialState.COMPLETE,
        step=300,
        metrics={"validation_loss": loss},
    )


def search(tuner: Strategy, population: int) -> list[tuple[Proposal, Outcome]]:
    rows: list[tuple[Proposal, Outcome]] = []
    while not tuner.finished:
        proposals = tuner.ask(population)
        outcomes = [bowl(proposal) for proposal in proposals]
        tuner.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    return rows


def best_ten(rows: list[tuple[Proposal, Outcome]]) -> float:
    return statistics.fmean(sorted(o.metrics["validation_loss"] for _, o in rows if o.metrics)[:10])


def test_the_point_becomes_the_candidate() -> None:
    space = {**SPACE, "beta": Float(low=0.5, high=0.99), "k": Int(low=1, high=9)}
    for proposal in strategy(space=space).ask(5):
        candidate, point = proposal.candidate, proposal.parameters
        assert candidate.rule == "adam"
        assert (candidate.lr, candidate.weight_decay) == (point["lr"], point["weight_decay"])
        assert candidate.hyperparameters == {"beta": point["beta"], "k": point["k"]}
        assert Proposal.model_validate_json(proposal.model_dump_json()) == proposal


def test_distributions_reach_the_last_whole_step_without_a_warning() -> None:
    ragged = distribution(Float(low=0.1, high=1.0, step=0.25))
    assert isinstance(ragged, optuna.distributions.FloatDistribution)
    assert ragged.high == pytest.approx(0.85)
    even = distribution(Float(low=0.1, high=0.7, step=0.1))
    assert isinstance(even, optuna.distributions.FloatDistribution)
    assert even.high == pytest.approx(0.7)
    assert distribution(Int(low=1, high=8, step=3)) == optuna.distributions.IntDistribution(
        1, 7, step=3
    )
    choices = distribution(Categorical(choices=(1, 2.5, "x")))
    assert choices == optuna.distributions.CategoricalDistribution((1, 2.5, "x"))


def test_each_trial_has_its_true_state_and_none_stays_running() -> None:
    tuner = strategy(budget=6)
    asked = tuner.ask(6)
    assert [t.state for t in tuner._study.trials] == [OptunaState.RUNNING] * 6
    tuner.tell([
        Outcome(number=0, state=TrialState.COMPLETE, step=300, metrics={"validation_loss": 0.5}),
        Outcome(number=1, state=TrialState.PRUNED, step=30, metrics={"validation_loss": 0.9}),
        Outcome(number=2, state=TrialState.INFEASIBLE, reason="the loss is nan at step 4"),
        Outcome(number=3, state=TrialState.FAILED),
    ])  # fmt: skip
    tuner.abandon([4])
    tuner.tell([Outcome(number=5, state=TrialState.INFEASIBLE, reason="diverged")])
    assert tuner.finished
    done = OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL
    trials = tuner._study.trials
    assert [t.state for t in trials] == [done[0], done[1], done[1], done[2], done[2], done[1]]
    assert [t.number for t in trials] == [p.number for p in asked]
    assert trials[0].value == 0.5
    assert trials[1].intermediate_values == {30: 0.9}
    assert [bool(t.constraints) for t in trials] == [False, False, True, False, False, True]
    assert trials[2].value is None, "no value is made up for what has none"


def test_an_outcome_without_the_objective_is_refused_whole() -> None:
    tuner = strategy(budget=2)
    tuner.ask(2)
    good = Outcome(number=0, state=TrialState.COMPLETE, metrics={"validation_loss": 0.5})
    bad = Outcome(number=1, state=TrialState.COMPLETE, metrics={"train_loss": 0.5})
    with pytest.raises(ValueError, match=r"trial 1 is COMPLETE without .*it has: train_loss"):
        tuner.tell([good, bad])
    assert tuner._study.trials[0].state is OptunaState.RUNNING
    tuner.tell([good])
    assert tuner._study.trials[0].state is OptunaState.COMPLETE


def test_a_population_does_not_collapse_onto_one_point() -> None:
    tuner = strategy(budget=104)
    while tuner._ledger.next < 40:
        tuner.tell([bowl(p) for p in tuner.ask(8)])
    together = [float(p.parameters["lr"]) for p in tuner.ask(64)]
    assert len(set(together)) == 64
    # Half the population lies near the best known, the rest explores: no heap, no uniform spray.
    near = sum(0.003 < lr < 0.03 for lr in together)
    assert 8 < near < 60


def test_tpe_leaves_where_training_diverges() -> None:
    far = [
        sum(o.state is TrialState.INFEASIBLE for _, o in search(strategy(100, s), 10)[50:])
        for s in range(2)
    ]
    even = [
        sum(
            o.state is TrialState.INFEASIBLE
            for _, o in search(strategy(100, s, name="random"), 10)[50:]
        )
        for s in range(2)
    ]
    assert sum(far) < 0.5 * sum(even)


def test_tpe_beats_random_search_at_equal_trials() -> None:
    ours = [best_ten(search(strategy(56, seed), 8)) for seed in range(3)]
    even = [best_ten(search(strategy(56, seed, name="random"), 8)) for seed in range(3)]
    assert statistics.fmean(ours) < 0.9 * statistics.fmean(even)


@pytest.mark.parametrize(
    ("settings", "handed"),
    [
        ({}, {}),
        ({"multivariate": True}, {"multivariate": True}),
        ({"multivariate": False}, {"multivariate": False}),
        ({"startup_trials": 5}, {"n_startup_trials": 5}),
    ],
)
def test_a_population_of_one_is_plain_optuna(
    settings: dict[str, Any], handed: dict[str, Any]
) -> None:
    ours = search(strategy(30, seed=9, **settings), 1)
    study = optuna.create_study()
    space = {name: distribution(SPACE[name]) for name in SPACE}
    for number in range(30):
        study.sampler = optuna.samplers.TPESampler(seed=derived_seed(9, number), **handed)
        trial = study.ask(space)
        assert trial.params == ours[number][0].parameters
        outcome = bowl(
            Proposal(number=number, candidate=Candidate(rule="g"), parameters=trial.params)
        )
        if outcome.metrics:
            study.tell(trial, outcome.metrics["validation_loss"])
        else:
            trial.set_constraint("feasible", 1.0)
            study.tell(trial, state=OptunaState.PRUNED)


def test_several_objectives_are_searched_as_plain_optuna_does() -> None:
    cost = Objective(metric="cost_seconds")
    candidate = Candidate(rule="g")
    ours = OptunaStrategy(SPACE, TPE(), Objective(), 40, candidate, 9, others=[cost])
    study = optuna.create_study(directions=["minimize", "minimize"])
    space = {name: distribution(SPACE[name]) for name in SPACE}
    for number in range(40):
        study.sampler = optuna.samplers.TPESampler(seed=derived_seed(9, number))
        trial = study.ask(space)
        [proposal] = ours.ask(1)
        assert trial.params == proposal.parameters
        lr, decay = trial.params["lr"], trial.params["weight_decay"]
        ours.tell([Outcome(number=number, state=TrialState.COMPLETE, cost_seconds=decay,
                           metrics={"validation_loss": abs(lr - 0.01)})])  # fmt: skip
        study.tell(trial, [abs(lr - 0.01), decay])


def test_two_searches_share_nothing() -> None:
    one, two = strategy(), strategy()
    one.tell([bowl(p) for p in one.ask(20)])
    assert len(two._study.trials) == 0
    assert two._study._storage is not one._study._storage


def test_only_outstanding_trials_are_kept_besides_the_study() -> None:
    tuner = strategy(budget=400, name="random")
    run(tuner, 50, upto=350)
    assert tuner._ledger.outstanding == 0
    assert len(tuner._ledger._again) == 0


def test_optuna_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    run(strategy(budget=12), 6)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level >= logging.WARNING


def test_points_that_come_when_the_budget_is_spent_are_asked_all_the_same() -> None:
    tuner = strategy(budget=3)
    first = tuner.ask(5)
    assert len(first) == 3
    points = [{"lr": 0.01, "weight_decay": 0.001}, {"lr": 0.02}]
    tuner.enqueue(points)
    later = tuner.ask(5)
    assert [proposal.memo["point"] for proposal in later] == [0, 1]
    assert [proposal.parameters["lr"] for proposal in later] == [0.01, 0.02]
    tuner.tell([bowl(proposal) for proposal in first])
    assert not tuner.finished
    tuner.tell([bowl(proposal) for proposal in later])
    assert tuner.finished
    tuner.enqueue([*points, {"lr": 0.03}])
    assert not tuner.finished
    assert [proposal.parameters["lr"] for proposal in tuner.ask(5)] == [0.03]
