import pytest

from dsl.candidate import Candidate
from dsl.outcome import TrialState
from workers.blocks import APART, arranged
from workers.population import RowResult, train_population
from workers.protocol import Protocol
from workers.stack import Stack, together
from workers.tasks.registry import TASKS

RATES = (1e-3, 1e-2, 0.03)
PAIRED = ("adam", "drop(m, 0.3) + noise(0.1) * mean(g)", "m * norm(w) / norm(m)")
TIMED = "eta = 1\ndebias(ema(g, beta * ld)) * eta"
PROTOCOL = Protocol(steps=16)


def test_two_seeds_with_rows_enough_have_a_block_each() -> None:
    assert arranged([4, 2] * APART) == [list(range(k, 2 * APART, 2)) for k in (1, 0)]
    assert arranged([4] + [2] * APART) == [list(range(APART + 1))]
    assert arranged([4, 2, 7] * APART) == [list(range(3 * APART))]


def test_a_rules_rows_of_both_blocks_are_stepped_at_once_where_they_are_as_many() -> None:
    rules = ["g", "g", "m", "w", "g", "g", "w", "w"]
    candidates = [Candidate(rule=rule, lr=1.0) for rule in rules]
    assert together(candidates, [range(4), range(4, 8)]) == [
        [range(2), range(4, 6)],
        [range(2, 3)],
        [range(3, 4)],
        [range(6, 8)],
    ]
    assert together(candidates, [range(8)]) == [
        [range(2)],
        [range(2, 3)],
        [range(3, 4)],
        [range(4, 6)],
        [range(6, 8)],
    ]


@pytest.fixture
def two_seeds() -> list[Candidate]:
    """Return rows of two seeds; some run away, of some rules in one seed alone."""
    rows = [Candidate(rule=rule, lr=lr, seed=s) for rule in PAIRED for lr in RATES for s in (3, 8)]
    rows += [Candidate(rule="g", lr=lr, seed=s) for lr in (0.1, 1e9) for s in (3, 8)]
    beta = {"beta": 0.5}
    for seed, rates in ((3, (0.1, 1e9, 0.2)), (8, (0.1, 0.3, 0.2))):
        rows += [Candidate(rule="trace(drop(g, 0.1), beta)", lr=lr, seed=seed) for lr in rates]
        rows += [
            Candidate(rule=TIMED, lr=lr, seed=seed, hyperparameters=own)
            for lr, own in zip(rates, ({}, beta, beta), strict=True)
        ]
    return [*rows, Candidate(rule="prev(g) + u / 2 + g", lr=0.1, seed=8, decay="paper")]


def test_rows_of_two_seeds_are_those_that_are_trained_alone(two_seeds: list[Candidate]) -> None:
    blocks = []
    task, place = TASKS["digits-mlp"], Stack._place

    def seen(stack: Stack) -> None:
        blocks.append([len(rule.spans) for rule in stack._rules])
        place(stack)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "_place", seen)
        results = train_population(task, two_seeds, PROTOCOL, keep_weights=True)
    assert max(map(sum, blocks)) == 2 * 6 + 1
    assert len(blocks[-1]) > len(blocks[-2])  # where one seed's row ran away, the other's goes on
    ends = [result.state for result in results]
    assert ends.count(TrialState.INFEASIBLE) == 4
    for candidate, result in zip(two_seeds, results, strict=True):
        (alone,) = train_population(task, [candidate], PROTOCOL, keep_weights=True)
        assert outcome(alone) == outcome(result), candidate


def outcome(result: RowResult) -> tuple[object, ...]:
    weights = {name: value.tolist() for name, value in (result.weights or {}).items()}
    return (result.state, result.reason, result.metrics, result.curve, result.slots, weights)
