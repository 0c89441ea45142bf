import json
from statistics import mean, stdev
from typing import Any

import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from workers.evaluation import judge
from workers.population import train_population
from workers.protocol import Evaluation, Protocol, SuccessiveHalving, TaskSpec
from workers.stack import Stack
from workers.tasks.registry import TASKS

TASK = TASKS["digits-mlp"]
RATES = (1e-3, 1e-1, 1e1)
SHORT = Protocol(steps=30, grid_steps=10, learning_rates=RATES)


def judged(candidates: list[Candidate], protocol: Protocol) -> list[Outcome]:
    evaluation = Evaluation(task=TaskSpec(name="digits-mlp"), protocols={Stage.SEARCH: protocol})
    proposals = [
        Proposal(number=7 * i, candidate=candidate) for i, candidate in enumerate(candidates)
    ]
    outcomes = judge(evaluation, proposals)
    assert [outcome.number for outcome in outcomes] == [proposal.number for proposal in proposals]
    return outcomes


def test_the_grid_chooses_the_rate_and_the_full_run_uses_it() -> None:
    outcome = judged([Candidate(rule="adam", seed=4)], SHORT)[0]
    short = [Candidate(rule="adam", lr=rate, seed=4) for rate in RATES]
    losses = [
        result.metrics["validation_loss"]
        for result in train_population(TASK, short, Protocol(steps=10))
    ]
    best = RATES[losses.index(min(losses))]
    full = train_population(TASK, [Candidate(rule="adam", lr=best, seed=4)], Protocol(steps=30))[0]
    assert outcome.state is TrialState.COMPLETE
    assert outcome.lr == best
    assert outcome.metrics == full.metrics
    assert outcome.curve == full.curve
    assert (outcome.step, outcome.slots, outcome.seeds) == (30, 2, 1)
    assert outcome.cost_steps == 3 * 10 + 30
    assert outcome.cost_seconds > 0
    assert set(outcome.spread.values()) == {0.0}


def test_without_a_short_run_the_full_runs_choose() -> None:
    outcome = judged([Candidate(rule="g")], SHORT.model_copy(update={"grid_steps": None}))[0]
    rows = [Candidate(rule="g", lr=rate) for rate in RATES]
    results = train_population(TASK, rows, Protocol(steps=30))
    losses = [result.metrics["validation_loss"] for result in results]
    assert outcome.lr == RATES[losses.index(min(losses))]
    assert outcome.metrics["validation_loss"] == min(losses)
    assert outcome.cost_steps == 90


@pytest.mark.parametrize("grid_steps", [None, 10])
def test_the_test_split_is_read_once_for_the_chosen_rate_alone(
    grid_steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    measure = Stack.measure

    def counted(stack: Stack, split: Any) -> dict[str, list[float]]:
        nonlocal reads
        reads += len(stack.rows) if split == "test" else 0
        return measure(stack, split)

    monkeypatch.setattr(Stack, "measure", counted)
    protocol = SHORT.model_copy(update={"grid_steps": grid_steps, "seeds": 2, "test": True})
    outcomes = judged([Candidate(rule="g"), Candidate(rule="adam")], protocol)
    assert reads == 2 * 2
    untested = protocol.model_copy(update={"test": False})
    alike = judged([Candidate(rule="g"), Candidate(rule="adam")], untested)
    for outcome, other in zip(outcomes, alike, strict=True):
        assert outcome.lr == other.lr
        assert outcome.curve == other.curve
        assert {"test_loss", "test_accuracy"} == set(outcome.metrics) - set(other.metrics)
        assert {name: outcome.metrics[name] for name in other.metrics} == other.metrics


def test_seeds_are_averaged_and_kept() -> None:
    protocol = Protocol(steps=10, seeds=3, test=True)
    outcome = judged([Candidate(rule="adam", lr=0.01, seed=5)], protocol)[0]
    rows = [Candidate(rule="adam", lr=0.01, seed=seed) for seed in (5, 6, 7)]
    results = train_population(TASK, rows, Protocol(steps=10, test=True))
    assert outcome.seeds == 3
    for name in ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy"):
        values = [result.metrics[name] for result in results]
        assert outcome.by_seed[name] == tuple(values)
        assert outcome.metrics[name] == pytest.approx(mean(values), rel=1e-12)
        assert outcome.spread[name] == pytest.approx(stdev(values), rel=1e-9)
    assert outcome.curve[-1].metrics["validation_loss"] == pytest.approx(
        outcome.metrics["validation_loss"]
    )


def test_faults_are_infeasible_with_their_reason_and_cost_nothing() -> None:
    rules = ["g +", "w", "log(g - abs(g))", "abs(g)", "-g", "g"]
    outcomes = judged([Candidate(rule=rule) for rule in rules], SHORT)
    assert [outcome.state.value for outcome in outcomes] == ["INFEASIBLE"] * 5 + ["COMPLETE"]
    for outcome in outcomes[:5]:
        assert outcome.reason
        assert (outcome.cost_steps, outcome.cost_seconds, outcome.metrics) == (0, 0, {})


def test_a_rule_that_diverges_at_every_rate_is_infeasible() -> None:
    rule = "where(T - 50, g, -1000000000000 * g)"  # the screening's T is 100
    outcome = judged([Candidate(rule=rule)], SHORT)[0]
    assert outcome.state is TrialState.INFEASIBLE
    assert outcome.reason is not None
    assert outcome.reason.startswith("diverged at every learning rate from 0.001 to 10; at 0.001:")
    assert outcome.metrics == {}
    assert 0 < outcome.cost_steps < 30


def test_the_task_says_whether_steep_quadratics_are_probed() -> None:
    small = [Proposal(number=0, candidate=Candidate(rule="0.00001 * sign(m)"))]
    ends = []
    for task in ("digits-mlp", "breast-cancer"):
        evaluation = Evaluation(task=TaskSpec(name=task), protocols={Stage.SEARCH: SHORT})
        ends.append(judge(evaluation, small)[0].state.value)
    assert ends == ["INFEASIBLE", "COMPLETE"]


def test_a_rate_at_which_it_diverges_is_not_chosen() -> None:
    outcome = judged([Candidate(rule="-100 * g + 101 * g * 10 ^ 6")], SHORT)[0]
    assert outcome.state is TrialState.INFEASIBLE
    outcome = judged(
        [Candidate(rule="1000000 * g")], SHORT.model_copy(update={"learning_rates": (1e-7, 1.0)})
    )[0]
    assert (outcome.state, outcome.lr) == (TrialState.COMPLETE, 1e-7)


def test_a_full_run_that_diverges_is_infeasible() -> None:
    outcome = judged([Candidate(rule="g", lr=1e9), Candidate(rule="g", lr=0.1)], SHORT)
    assert [each.state.value for each in outcome] == ["INFEASIBLE", "COMPLETE"]
    assert "at step" in (outcome[0].reason or "")


def test_the_pruner_stops_losers_at_their_true_step() -> None:
    pruner = SuccessiveHalving(reduction=2, min_steps=5)
    protocol = Protocol(steps=20, seeds=2, pruner=pruner)
    outcomes = judged([Candidate(rule="g", lr=rate) for rate in (1e-5, 0.5, 1e-4, 0.1)], protocol)
    assert [(each.state.value, each.step) for each in outcomes] == [
        ("PRUNED", 5),
        ("COMPLETE", 20),
        ("PRUNED", 5),
        ("PRUNED", 10),
    ]
    assert outcomes[0].cost_steps == 10
    assert outcomes[0].curve[-1].step == 5


def test_each_stage_has_its_protocol_and_outcomes_are_json() -> None:
    evaluation = Evaluation(
        task=TaskSpec(name="digits-mlp"),
        protocols={
            Stage.SEARCH: Protocol(steps=5),
            Stage.COMPARISON: Protocol(steps=8, seeds=2, test=True),
        },
    )
    candidate = Candidate(rule="g", lr=0.1)
    proposals = [
        Proposal(number=0, candidate=candidate, stage=Stage.COMPARISON),
        Proposal(number=1, candidate=candidate),
        Proposal(number=2, candidate=Candidate(rule="g", lr=1e30)),
    ]
    outcomes = judge(evaluation, proposals)
    assert [(each.number, each.step) for each in outcomes[:2]] == [(0, 8), (1, 5)]
    assert "test_loss" in outcomes[0].metrics
    assert "test_loss" not in outcomes[1].metrics
    for outcome in outcomes:
        text = json.dumps(outcome.model_dump(mode="json"), allow_nan=False)
        assert Outcome.model_validate_json(text) == outcome


def test_a_proposal_may_name_a_task_of_its_own() -> None:
    protocol = Protocol(steps=5, learning_rates=(0.01, 0.1), grid_steps=None, seeds=2, test=True)
    evaluation = Evaluation(
        task=TaskSpec(name="digits-mlp"), protocols=dict.fromkeys(Stage, protocol)
    )
    rules = ("g", "sign(g)")
    proposals = [
        Proposal(number=i, candidate=Candidate(rule=rules[i % 2]), stage=Stage.UNSEEN, task=task)
        for i, task in enumerate(("wine", None, "diabetes", "wine"))
    ]
    outcomes = judge(evaluation, proposals)
    for outcome, proposal in zip(outcomes, proposals, strict=True):
        task = TaskSpec(name=proposal.task or "digits-mlp")
        apart = evaluation.model_copy(update={"task": task})
        alone = judge(apart, [proposal.model_copy(update={"task": None})])[0]
        assert alone.metrics == outcome.metrics
        assert alone.by_seed == outcome.by_seed


def test_a_wrong_evaluation_is_refused() -> None:
    proposal = Proposal(number=0, candidate=Candidate(rule="g", lr=0.1))
    protocols = {Stage.SEARCH: Protocol(steps=5)}
    with pytest.raises(ValueError, match="no task 'mnist'"):
        judge(Evaluation(task=TaskSpec(name="mnist"), protocols=protocols), [proposal])
    digits = TaskSpec(name="digits-mlp")
    with pytest.raises(ValueError, match="no protocol for stage 'search'"):
        judge(Evaluation(task=digits, protocols={Stage.COMPARISON: Protocol()}), [proposal])
    protocols = {Stage.SEARCH: Protocol(steps=5, metric="test_loss")}
    with pytest.raises(ValueError, match="has no metric 'test_loss'; allowed: train_loss, "):
        judge(Evaluation(task=digits, protocols=protocols), [proposal])


def test_a_candidate_has_the_batch_size_it_names() -> None:
    named = [Candidate(rule="g", lr=0.1, batch_size=size) for size in (16, None, 48)]
    together = judged(named, Protocol(steps=5, batch_size=32))
    for outcome, size in zip(together, (16, 32, 48), strict=True):
        alone = judged([Candidate(rule="g", lr=0.1)], Protocol(steps=5, batch_size=size))[0]
        assert outcome.metrics == alone.metrics
    assert len({outcome.metrics["validation_loss"] for outcome in together}) == 3
