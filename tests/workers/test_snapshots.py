from collections.abc import Iterator, Sequence

import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from workers import evaluation, snapshots
from workers.population import train_population
from workers.protocol import Evaluation, Protocol, SuccessiveHalving, TaskSpec
from workers.snapshots import Snapshot, measured
from workers.stack import Stack
from workers.tasks.registry import TASKS

PROTOCOL = Protocol(steps=40, grid_steps=None, learning_rates=(1e-3, 1e-1, 1e0, 1e9))


def judged(rules: Sequence[str], protocol: Protocol = PROTOCOL) -> list[Outcome]:
    how = Evaluation(task=TaskSpec(name="digits-mlp"), protocols={Stage.SEARCH: protocol})
    candidates = [Candidate(rule=rule) for rule in rules]
    proposals = [Proposal(number=k, candidate=each) for k, each in enumerate(candidates)]
    outcomes = evaluation.judge(how, proposals)
    return [each.model_copy(update={"cost_seconds": 0.0}) for each in outcomes]


def test_curves_are_those_of_points_measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, rows = Stack.measure, list[int]()

    def counted(stack: Stack, split: str) -> dict[str, list[float]]:
        rows.append(len(stack.rows))
        return measure(stack, split)

    rules = ("g", "adam", "drop(m, 0.3)", "sign(ema(g, beta1))", "1000000 * g")
    protocol = PROTOCOL.model_copy(update={"seeds": 2})
    judged(rules, protocol)  # measures how much memory a row takes
    monkeypatch.setattr(Stack, "measure", counted)
    lazily, few = judged(rules, protocol), sum(rows)
    monkeypatch.setattr(snapshots, "KEPT", 0)
    assert lazily == judged(rules, protocol)
    assert any(len(each.curve) == 4 for each in lazily)
    assert sum(rows) > 4 * few


def test_a_pruner_has_every_point_measured() -> None:
    protocol = Protocol(steps=8, pruner=SuccessiveHalving(min_steps=2))
    (result,) = train_population(
        TASKS["digits-mlp"], [Candidate(rule="g", lr=0.1)], protocol, points=2, lazily=True
    )
    assert result.snapshots == ()
    assert [point.step for point in result.curve] == [2, 4, 6, 8]


def test_a_rate_with_a_point_that_is_not_finite_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = judged(["g"])[0]
    assert (usual.state, usual.lr) == (TrialState.COMPLETE, 1.0)
    losses = [point.metrics["train_loss"] for point in usual.curve]

    def infinite(taken: Sequence[Snapshot]) -> Iterator[dict[str, float]]:
        for each, metrics in zip(taken, measured(taken), strict=True):
            hit = each.step == 20 and each.train_loss in hits
            yield {**metrics, "validation_loss": float("inf")} if hit else metrics

    monkeypatch.setattr(evaluation, "measured", infinite)
    hits = losses
    second = judged(["g"])[0]
    assert (second.state, second.lr, len(second.curve)) == (TrialState.COMPLETE, 0.1, 4)
    hits = {each.train_loss for row in unmeasured() for each in row}
    none = judged(["g"])[0]
    assert none.state is TrialState.INFEASIBLE
    assert none.reason is not None
    assert "diverged at every learning rate from 0.001" in none.reason
    assert "validation_loss is no longer a finite number at step 20" in none.reason
    assert [point.step for point in none.curve] == [10]


def unmeasured() -> list[tuple[Snapshot, ...]]:
    rows = [Candidate(rule="g", lr=rate) for rate in PROTOCOL.learning_rates]
    protocol = Protocol(steps=40)
    found = train_population(TASKS["digits-mlp"], rows, protocol, points=4, lazily=True)
    return [each.snapshots for each in found]
