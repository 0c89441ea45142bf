"""What a job's body becomes."""

from typing import Any

import pytest

from dsl.candidate import Stage
from dsl.canonical import canonical_text
from optimizers.catalogue import CATALOGUE
from search.comparison import WithComparison
from search.discovery import RandomStrategy
from search.evolution import EvolutionStrategy
from search.reinforcement import ReinforcementStrategy
from service.assembly import population_of, strategy_of
from service.candidates import tuned
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from workers.protocol import FINE_GRID, GRID, SuccessiveHalving


def tune(**more: Any) -> TuneJob:
    body = {
        "kind": "tune",
        "name": "adamw on digits",
        "task": {"name": "digits-mlp"},
        "optimizer": "adamw",
        "schedule": "cosine",
        "seed": 7,
        "space": {"lr": {"type": "float", "low": 1e-5, "high": 1, "log": True}},
        "pruner": {"name": "successive_halving"},
        "budget": {"trials": 200, "steps": 300},
    }
    job = JOB_SPEC.validate_python(body | more)
    assert isinstance(job, TuneJob)
    return job


def discover(**more: Any) -> DiscoverJob:
    body = {
        "kind": "discover",
        "name": "rules for digits",
        "task": {"name": "digits-mlp"},
        "seed": 3,
        "objective": {"metric": "validation_accuracy", "direction": "maximize"},
        "budget": {"rules": 2000},
    }
    job = JOB_SPEC.validate_python(body | more)
    assert isinstance(job, DiscoverJob)
    return job


def test_a_tune_job_searches_the_numbers_of_its_optimizer() -> None:
    candidate = tuned(tune())
    assert candidate.decay == "decoupled"
    assert candidate.schedule.name == "cosine"
    assert candidate.seed == 7
    proposals = strategy_of(tune()).ask(5)
    assert len({proposal.candidate.lr for proposal in proposals}) == 5
    assert {proposal.candidate.rule for proposal in proposals} == {candidate.rule}


def test_a_searched_weight_decay_is_applied_even_where_the_optimizer_has_none() -> None:
    space = {"weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True}}
    assert tuned(tune(optimizer="adam", space=space)).decay != "none"
    assert tuned(tune(optimizer="sgd", space=space)).decay != "none"
    assert tuned(tune(optimizer="sgd")).decay == "none"


def test_a_tune_job_has_one_stage_with_its_pruner() -> None:
    protocols = evaluation_of(tune()).protocols
    assert list(protocols) == [Stage.SEARCH]
    assert isinstance(protocols[Stage.SEARCH].pruner, SuccessiveHalving)
    assert protocols[Stage.SEARCH].steps == 300


def test_only_the_comparison_reads_the_test_split() -> None:
    protocols = evaluation_of(discover()).protocols
    assert not protocols[Stage.SEARCH].test
    assert protocols[Stage.COMPARISON].test
    assert protocols[Stage.SEARCH].learning_rates == GRID
    assert protocols[Stage.COMPARISON].learning_rates == FINE_GRID
    assert len(FINE_GRID) == 19
    assert (FINE_GRID[0], FINE_GRID[-1]) == (1e-5, 10.0)
    assert set(GRID) < set(FINE_GRID)
    assert {p.metric for p in protocols.values()} == {"validation_accuracy"}
    assert {p.direction for p in protocols.values()} == {"maximize"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("reinforcement", ReinforcementStrategy),
        ("evolution", EvolutionStrategy),
        ("random", RandomStrategy),
    ],
)
def test_a_discover_job_compares_what_its_strategy_finds(name: str, kind: type) -> None:
    strategy = strategy_of(discover(strategy={"name": name}))
    assert isinstance(strategy, WithComparison)
    assert isinstance(strategy.inner, kind)
    names = "sgd momentum nesterov rmsprop adam adamw nadam lion cautious_adamw"
    assert [label for label, _ in strategy.level.baselines] == names.split()
    first = strategy.ask(1)[0]
    assert first.candidate.lr is None
    assert first.candidate.seed == 3


def test_evolution_starts_from_rules_by_name_or_text() -> None:
    start = ["nos_m_exp_v", "sign(g) * abs(m)"]
    strategy = strategy_of(discover(strategy={"name": "evolution", "start": start}))
    rules = [proposal.candidate.rule for proposal in strategy.ask(2)]
    assert rules == [canonical_text(CATALOGUE["nos_m_exp_v"].rule), canonical_text(start[1])]


def test_decays_are_put_into_a_rule_by_its_name() -> None:
    language = {"preset": "decays", "rule": "nos_powersign", "groups": 1}
    strategy = strategy_of(discover(strategy={"name": "random"}, language=language))
    rules = {proposal.candidate.rule for proposal in strategy.ask(30)}
    assert canonical_text("g * exp(rd(10) * (sign(g) * sign(m)))") in rules


def test_populations_leave_the_sampler_rounds_to_learn_in() -> None:
    assert population_of(tune(), 2) == 20
    assert population_of(tune(budget={"trials": 1}), 2) == 1
    assert population_of(tune(population=200), 2) == 200
    assert population_of(tune(budget={"trials": 100_000}), 2) == 64
    assert population_of(discover(), 2) == 32


def test_what_is_trained_one_by_one_comes_in_small_populations_unless_it_is_pruned() -> None:
    assert population_of(tune(optimizer="soap", pruner={"name": "none"}), 2) == 8
    assert population_of(tune(optimizer="soap", pruner={"name": "none"}, population=30), 2) == 30
    assert population_of(tune(optimizer="soap"), 2) == 20
