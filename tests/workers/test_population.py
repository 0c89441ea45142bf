import math
import random
from collections.abc import Sequence
from itertools import cycle

import pytest
import torch

from dsl.candidate import Candidate, ScheduleSpec
from dsl.errors import RuleError
from dsl.outcome import TrialState
from optimizers.catalogue import CATALOGUE
from optimizers.rule import RuleOptimizer
from optimizers.schedules import SCHEDULES, multipliers
from workers.batches import batch_order
from workers.plan import plan
from workers.population import RowResult, train_population
from workers.protocol import Protocol, SuccessiveHalving
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples, Model, Task
from workers.tasks.wine import Wine

TASK = TASKS["digits-mlp"]
CANDIDATES = [
    Candidate(rule="g", lr=0.5),
    Candidate(rule="g", lr=0.1, decay="l2", weight_decay=0.01, seed=3),
    Candidate(rule="trace(g, mu)", lr=0.05, hyperparameters={"mu": 0.8}, seed=1),
    Candidate(rule="trace(g, mu)", lr=0.05, hyperparameters={"mu": 0.95}),
    Candidate(rule="adam", lr=0.01, schedule=ScheduleSpec(name="cosine")),
    Candidate(rule="adam", lr=0.02, hyperparameters={"beta2": 0.9}, seed=1),
    Candidate(rule="adam", lr=0.01, decay="decoupled", weight_decay=0.1),
    Candidate(
        rule="adam",
        lr=0.01,
        decay="paper",
        weight_decay=1e-3,
        schedule=ScheduleSpec(name="linear"),
        seed=1,
    ),
    Candidate(rule="base ^ (ld * sign(g) * sign(ema(g, beta))) * g", lr=0.1, seed=2),
    Candidate(rule="drop(adam, 0.3) + noise(annealed_noise)", lr=0.005, seed=2),
    Candidate(rule="drop(adam, 0.3) + noise(annealed_noise)", lr=0.005, seed=5),
    Candidate(rule="m * norm(w) / norm(m)", lr=0.05),
    Candidate(rule="g / (rms(g) + 0.001) + mean(u)", lr=0.01, seed=1),
]


def alone(candidate: Candidate, steps: int, task: Task = TASK) -> dict[str, torch.Tensor]:
    """Train one child as anybody would: a module, autograd, a torch optimizer."""
    module = task.initial(candidate.seed).double()
    optimizer = RuleOptimizer(
        module.parameters(),
        candidate.rule,
        candidate.lr,
        weight_decay=candidate.weight_decay,
        decay=candidate.decay,
        total_steps=steps,
        seed=candidate.seed,
        **candidate.hyperparameters,
    )
    inputs, targets = task.examples("train")
    order = batch_order(candidate.seed, len(inputs), 64, steps)
    group = optimizer.param_groups[0]
    group["initial_lr"] = candidate.lr
    for step, eta in enumerate(multipliers(candidate.schedule, steps)):
        group["lr"] = candidate.lr * eta
        optimizer.zero_grad()
        task.loss(module, (inputs[order[step]].double(), targets[order[step]])).backward()
        optimizer.step()
    return {name: value.detach() for name, value in module.named_parameters()}


def train(candidates: Sequence[Candidate], steps: int = 40, **options: object) -> list[RowResult]:
    return train_population(TASK, candidates, Protocol(steps=steps), keep_weights=True, **options)


def same(one: RowResult, other: RowResult) -> bool:
    assert one.weights is not None
    assert other.weights is not None
    return (one.state, one.metrics, one.curve) == (other.state, other.metrics, other.curve) and all(
        torch.equal(value, other.weights[name]) for name, value in one.weights.items()
    )


def test_every_row_equals_the_one_at_a_time_run() -> None:
    results = train(CANDIDATES, dtype=torch.float64)
    for candidate, result in zip(CANDIDATES, results, strict=True):
        assert result.state is TrialState.COMPLETE
        for name, value in alone(candidate, 40).items():
            torch.testing.assert_close(
                result.weights[name], value, rtol=1e-9, atol=1e-11, msg=f"{candidate}: {name}"
            )


def check_against_loops(candidates: dict[str, Candidate], steps: int) -> None:
    """Train the candidates as one population on a small task, and each by itself, in float64."""
    task, protocol = TASKS["wine"], Protocol(steps=steps)
    options = {"dtype": torch.float64, "points": 1, "keep_weights": True}
    results = train_population(task, list(candidates.values()), protocol, **options)
    for (name, candidate), result in zip(candidates.items(), results, strict=True):
        assert result.state is TrialState.COMPLETE, name
        assert not result.one_by_one
        for parameter, value in alone(candidate, steps, task).items():
            torch.testing.assert_close(
                result.weights[parameter], value, rtol=1e-9, atol=1e-9, msg=f"{name}: {parameter}"
            )


def test_every_named_rule_equals_its_one_at_a_time_run() -> None:
    candidates = {
        name: Candidate(
            rule=entry.rule,
            lr=entry.lr,
            decay=entry.decay,
            weight_decay=entry.weight_decay,
            schedule=ScheduleSpec(name="cosine"),
            seed=number % 4,
        )
        for number, (name, entry) in enumerate(sorted(CATALOGUE.items()))
    }
    check_against_loops(candidates, 100)


def test_every_schedule_and_decay_equals_its_one_at_a_time_run() -> None:
    specs = [ScheduleSpec(name=name) for name in SCHEDULES]
    specs += [
        ScheduleSpec(name=name, settings={"warmup": 15.0, "warmup_start": 0.1})
        for name, each in SCHEDULES.items()
        if "warmup" not in each.own
    ]
    decays = cycle(("l2", "decoupled", "paper"))
    candidates = {
        f"{spec} {decay}": Candidate(
            rule="adam", lr=0.02, decay=decay, weight_decay=0.02, schedule=spec, seed=1
        )
        for spec, decay in zip(specs, decays, strict=False)
    }
    check_against_loops(candidates, 100)


def test_a_row_is_the_same_alone_among_others_and_in_another_order() -> None:
    together = train(CANDIDATES)
    order = list(range(len(CANDIDATES)))
    random.Random(1).shuffle(order)
    shuffled = train([CANDIDATES[i] for i in order])
    for place, i in enumerate(order):
        assert same(shuffled[place], together[i])
        assert same(train([CANDIDATES[i]])[0], together[i])


def test_a_row_outlives_its_neighbours_unchanged() -> None:
    wild = [Candidate(rule=rule, lr=1e9, seed=8) for rule in ("g", "adam", CANDIDATES[9].rule)]
    # with state, schedule, hyperparameters, running products and draws of their own
    kept = [
        Candidate(rule="g", lr=0.5),
        *CANDIDATES[4:6],
        *CANDIDATES[9:11],
        Candidate(rule="debias(ema(g, demon(beta)))", lr=0.3, hyperparameters={"beta": 0.8}),
    ]
    wild.append(kept[-1].model_copy(update={"lr": 1e9, "hyperparameters": {"beta": 0.5}}))
    among = train([*wild, *kept])
    survivors = [result for result in among if result.state is TrialState.COMPLETE]
    assert [result.state for result in among[:4]] == [TrialState.INFEASIBLE] * 4
    assert len(survivors) == len(kept)
    for one, other in zip(survivors, train(kept), strict=True):
        assert same(one, other)


def test_diverged_rows_have_a_reason_and_their_step() -> None:
    results = train_population(
        TASK,
        [
            Candidate(rule="g", lr=1e30),
            Candidate(rule="-g", lr=100.0),
            Candidate(rule="log(g)", lr=0.1),
        ],
        Protocol(steps=50),
    )
    for result in results:
        assert result.state is TrialState.INFEASIBLE
        assert 1 <= result.step <= 20
        assert str(result.step) in result.reason
    assert "no longer a finite number" in results[2].reason
    assert results[2].step == 1
    assert "over the bound" in results[1].reason


class Boundless(Wine):
    """Its loss is infinite or not a number from the first step on."""

    def __init__(self, offset: float, *, stackable: bool) -> None:
        self.offset, self.stackable = offset, stackable

    def loss(self, model: Model, batch: Examples) -> torch.Tensor:
        loss = super().loss(model, batch)
        return loss + (self.offset if self.stackable else self.offset * (loss.item() + 1))


@pytest.mark.parametrize("stackable", [True, False])
def test_a_first_loss_that_is_not_finite_is_found_at_once(stackable: bool) -> None:
    for offset in (math.inf, -math.inf, math.nan):
        task, candidates = Boundless(offset, stackable=stackable), [Candidate(rule="g", lr=0.1)]
        result = train_population(task, candidates, Protocol(steps=40), points=1)[0]
        assert result.one_by_one != stackable
        assert result.reason == "the training loss is no longer a finite number at step 0"


def test_the_last_step_may_diverge_too() -> None:
    result = train_population(TASK, [Candidate(rule="log(g)", lr=0.1)], Protocol(steps=1))[0]
    assert result.state is TrialState.INFEASIBLE
    assert result.reason == "validation_loss is no longer a finite number at step 1"
    assert result.metrics == {}


def test_halving_stops_losers_with_their_step_and_leaves_winners_alone() -> None:
    rates = [1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.2, 0.5, 1.0]
    candidates = [Candidate(rule="g", lr=rate) for rate in rates]
    pruner = SuccessiveHalving(reduction=3, min_steps=5)
    protocol = Protocol(steps=30, pruner=pruner)
    results = train_population(TASK, candidates, protocol, keep_weights=True)
    assert [result.step for result in results] == [5, 5, 5, 5, 5, 5, 15, 15, 30]
    assert [result.state for result in results[:-1]] == [TrialState.PRUNED] * 8
    assert results[0].curve[-1].step == 5
    assert results[-1].state is TrialState.COMPLETE
    unpruned = train([candidates[-1]], 30)[0]
    for name, value in results[-1].weights.items():
        assert torch.equal(value, unpruned.weights[name])


def test_halving_keeps_or_stops_the_seeds_of_a_family_together() -> None:
    candidates = [
        Candidate(rule="g", lr=rate, seed=seed) for rate in (1e-5, 1e-4, 0.5) for seed in (0, 1)
    ]
    protocol = Protocol(
        steps=20,
        pruner=SuccessiveHalving(reduction=3, min_steps=5),
        metric="validation_accuracy",
        direction="maximize",
    )
    results = train_population(TASK, candidates, protocol, families=[0, 0, 1, 1, 2, 2])
    assert [result.step for result in results] == [5, 5, 5, 5, 20, 20]


def test_curves_are_bounded_and_end_at_the_end() -> None:
    result = train_population(TASK, CANDIDATES[:1], Protocol(steps=333), points=1000)[0]
    steps = [point.step for point in result.curve]
    assert len(steps) == 40
    assert steps == sorted(set(steps))
    assert steps[-1] == 333
    assert result.curve[-1].metrics == result.metrics
    assert set(TASK.metrics) == set(result.metrics)
    losses = [point.metrics["validation_loss"] for point in result.curve]
    assert losses[-1] < 0.5 * losses[0]


def test_the_test_split_is_read_only_when_asked_for() -> None:
    tested = train_population(TASK, CANDIDATES[:1], Protocol(steps=5, test=True))[0]
    assert {"test_loss", "test_accuracy"} <= set(tested.metrics)
    assert not any("test_loss" in point.metrics for point in tested.curve)


def test_adam_learns_the_digits() -> None:
    candidates = [Candidate(rule="adam", lr=0.01, seed=seed) for seed in range(3)]
    for result in train_population(TASK, candidates, Protocol(steps=300, test=True)):
        assert result.metrics["validation_accuracy"] > 0.93
        assert result.metrics["test_accuracy"] > 0.93
        assert result.slots == 2


def test_a_plan_keeps_rules_and_crowded_seeds_together() -> None:
    candidates = [
        Candidate(rule=rule, lr=1.0, seed=seed) for seed in (0, 1, 2) for rule in ("g", "m") * 3
    ]
    candidates += [Candidate(rule="g", lr=1.0, seed=seed) for seed in range(10, 14)]
    stacks = list(plan(candidates, 20))
    assert sorted(row for rows in stacks for row in rows) == list(range(len(candidates)))
    seeds = [{candidates[row].seed for row in rows} for rows in stacks]
    assert seeds == [{10, 11, 12, 13}, {0, 1}, {2}]
    assert [candidates[row].rule for row in stacks[1]] == ["g"] * 6 + ["m"] * 6
    assert all(len(rows) <= 4 for rows in plan(candidates, 4))
    apart = [{candidates[row].seed for row in rows} for rows in plan(candidates, 100, 6)]
    assert apart == seeds, "six rows are few for such a stack, but many for their batches"
    assert len(list(plan(candidates, 100, 7))) == 1


def test_unusable_candidates_are_refused() -> None:
    protocol = Protocol(steps=2)
    with pytest.raises(ValueError, match="candidate 1 names no learning rate"):
        train_population(TASK, [CANDIDATES[0], Candidate(rule="g")], protocol)
    with pytest.raises(ValueError, match="candidate 0 has the learning rate -1; give 0 or more"):
        train_population(TASK, [Candidate(rule="g", lr=-1.0)], protocol)
    wrong = Candidate(rule="trace(g, mu)", lr=1.0, hyperparameters={"beta1": 0.5})
    with pytest.raises(ValueError, match="no hyperparameter 'beta1'; it has: mu"):
        train_population(TASK, [wrong], protocol)
    with pytest.raises(RuleError):
        train_population(TASK, [Candidate(rule="g +", lr=1.0)], protocol)
    assert train_population(TASK, [], protocol) == []
