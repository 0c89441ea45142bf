"""What is asked of every sampler: distinct points, true states, nothing lost in a restart."""

import json

import pytest
from optuna.trial import TrialState as OptunaState

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from search.sampler_settings import (
    CMAES,
    GP,
    NSGA2,
    NSGA3,
    QMC,
    TPE,
    BruteForce,
    Grid,
    RandomPoints,
    SamplerSettings,
)
from search.settings import Objective
from search.space import Categorical, Float, Int, SearchSpace
from search.tuning import OptunaStrategy
from tests.search.test_tuning import SPACE, bowl

STEPS: SearchSpace = {
    "lr": Float(low=0.001, high=0.4, step=0.001),
    "weight_decay": Float(low=0.0, high=0.01, step=0.001),
}
SAMPLERS: dict[str, SamplerSettings] = {
    each.name: each
    for each in (
        TPE(),
        GP(startup_trials=12),
        CMAES(generation=6),
        NSGA2(generation=6),
        NSGA3(generation=6),
        QMC(),
        RandomPoints(),
        Grid(points=20),
        BruteForce(),
    )
}


def tuner(name: str, budget: int = 60, seed: int = 0, space: SearchSpace = SPACE) -> OptunaStrategy:
    space = STEPS if name == "brute_force" and space is SPACE else space
    base = Candidate(rule="adam")
    return OptunaStrategy(space, SAMPLERS[name], Objective(), budget, base, seed, 6)


def point(proposal: Proposal) -> str:
    return json.dumps(proposal.parameters, sort_keys=True)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_population_has_distinct_points(name: str) -> None:
    strategy, seen = tuner(name), list[str]()
    for count in (6, 6, 6, 12):
        together = strategy.ask(count)
        seen += map(point, together)
        strategy.tell([bowl(p) for p in together])
    # A child of two genes may be its parent; all else has no reason to repeat itself.
    assert len(set(seen)) >= (24 if name.startswith("nsga") else 30)


@pytest.mark.parametrize("name", SAMPLERS)
def test_states_are_told_and_none_stays_running(name: str) -> None:
    strategy = tuner(name, budget=18)
    for start in (0, 6, 12):
        strategy.ask(6)
        strategy.tell([
            Outcome(number=start, state=TrialState.INFEASIBLE, reason="the loss is nan"),
            Outcome(number=start + 1, state=TrialState.COMPLETE, metrics={"validation_loss": 0.5}),
            Outcome(number=start + 2, state=TrialState.PRUNED, step=30,
                    metrics={"validation_loss": 0.9}),
            Outcome(number=start + 3, state=TrialState.FAILED),
        ])  # fmt: skip
        strategy.abandon([start + 4])
        last = Outcome(number=start + 5, state=TrialState.COMPLETE, metrics={"validation_loss": 2})
        strategy.tell([last])
    assert strategy.finished
    trials = strategy._study.trials[12:]
    done, stopped, failed = OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL
    assert [t.state for t in trials[1:]] == [done, stopped, failed, failed, done]
    assert trials[2].intermediate_values == {30: 0.9}
    if name in ("gp", "cmaes", "nsga2", "nsga3"):
        assert trials[0].value == 2, "as bad as the worst"
    else:
        assert trials[0].state is stopped
        assert trials[0].constraints == {"feasible": 1.0}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_restart_from_rows_changes_nothing(name: str) -> None:
    strategy, rows = tuner(name), list[tuple[Proposal, Outcome | None]]()
    for _ in range(4):
        together = strategy.ask(6)
        outcomes = [bowl(p) for p in together]
        strategy.tell(outcomes)
        rows += zip(together, outcomes, strict=True)
    waiting = strategy.ask(3)
    kept = [
        (Proposal.model_validate_json(proposal.model_dump_json()), outcome)
        for proposal, outcome in [*rows, *((p, None) for p in waiting)]
    ]
    again = tuner(name)
    again.restore(kept, None)
    assert again.ask(3) == waiting
    for each in (strategy, again):
        each.tell([bowl(p) for p in waiting])
    assert again.ask(6) == strategy.ask(6)


@pytest.mark.parametrize("name", ["gp", "cmaes", "nsga2"])
def test_what_learns_beats_random_points(name: str) -> None:
    def near(which: str) -> float:
        strategy, losses = tuner(which, budget=48, seed=3), list[float]()
        while not strategy.finished:
            together = strategy.ask(6)
            strategy.tell(outcomes := [bowl(p) for p in together])
            losses += [o.metrics["validation_loss"] for o in outcomes if o.metrics]
        return sum(sorted(losses)[:10])

    assert near(name) < 0.9 * near("random")


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_an_exhaustive_search_tries_every_point_once_and_ends(name: str) -> None:
    space: SearchSpace = {
        "alpha": Categorical(choices=(1, 2.5)),
        "k": Int(low=1, high=5, step=2),
        "x": Float(low=0.0, high=0.2, step=0.1),
    }
    strategy, seen = tuner(name, budget=1000, space=space), list[str]()
    while not strategy.finished:
        together = strategy.ask(4)
        seen += map(point, together)
        strategy.tell([Outcome(number=p.number, state=TrialState.COMPLETE,
                               metrics={"validation_loss": 1.0}) for p in together])  # fmt: skip
    assert len(seen) == len(set(seen)) == 18


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "grid"])
def test_a_parameter_is_there_where_its_condition_holds(name: str) -> None:
    space: SearchSpace = {
        "gamma": Float(low=0.1, high=0.9, step=0.1, when={"kind": ("b", "c")}),
        "kind": Categorical(choices=("a", "b", "c")),
        "k": Int(low=1, high=2, when={"kind": ("a",)}),
    }
    strategy, kinds = tuner(name, budget=20, space=space), set[object]()
    while not strategy.finished:
        together = strategy.ask(5)
        for proposal in together:
            kind = proposal.parameters["kind"]
            kinds.add(kind)
            assert proposal.parameters.keys() == {"kind", "k" if kind == "a" else "gamma"}
        strategy.tell([Outcome(number=p.number, state=TrialState.COMPLETE,
                               metrics={"validation_loss": 1.0}) for p in together])  # fmt: skip
    assert kinds == {"a", "b", "c"}
