import pytest

from dsl.candidate import Candidate
from dsl.outcome import TrialState
from workers.population import train_population
from workers.protocol import Asha, Hyperband, NoPruner, Protocol, SuccessiveHalving
from workers.pruning import Pruning, fewest, losers, rungs
from workers.tasks.registry import find_task


def test_rungs_are_powers_below_the_end() -> None:
    assert rungs(SuccessiveHalving(reduction=3, min_steps=10), 300) == [10, 30, 90, 270]
    assert rungs(SuccessiveHalving(reduction=3, min_steps=10), 270) == [10, 30, 90]
    assert rungs(SuccessiveHalving(min_steps=300), 300) == []
    assert rungs(NoPruner(), 300) == []


def test_only_the_best_go_on() -> None:
    scores = {each: float(-each) for each in range(9)}
    assert losers(scores, 9, 0, 3) == {0, 1, 2, 3, 4, 5}
    assert losers({6: 0.1, 7: 0.2, 8: 0.3}, 9, 1, 3) == {7, 8}


def test_those_that_diverged_count_as_losers_and_one_always_stays() -> None:
    assert losers({1: 0.5, 2: 0.1}, 4, 0, 2) == set()
    assert losers({1: 0.5, 2: 0.1}, 2, 5, 2) == {1}
    assert losers({1: 0.5, 2: 0.5}, 2, 0, 2) == {2}


def test_hyperbands_rungs_count_from_the_end() -> None:
    assert rungs(Hyperband(reduction=3, min_steps=30), 300) == [34, 100]
    assert rungs(Hyperband(reduction=3, min_steps=30), 270) == [30, 90]
    assert rungs(Hyperband(reduction=2, min_steps=50), 100) == [50]
    assert rungs(Hyperband(min_steps=200), 300) == []


def stopped(pruning: Pruning, families: int) -> list[int]:
    """Return how many steps each family runs where a smaller number is better."""
    running, steps = set(range(families)), [270] * families
    for rung, step in enumerate(pruning.rungs):
        for family in pruning.losers({each: float(each) for each in running}, rung):
            running.remove(family)
            steps[family] = step
    return steps


def test_hyperband_stops_each_bracket_by_itself() -> None:
    # R = 9, eta = 3: n = 9, 5, 3 (Li et al. 2018, section 3.3), from a first rung of 1, 3, 9.
    steps = stopped(Pruning(Hyperband(min_steps=30), 270, range(17)), 17)
    assert steps == [270, 90, 90, *[30] * 6, 270, 270, 90, 90, 90, 270, 270, 270]
    assert stopped(Pruning(Hyperband(min_steps=30), 270, range(1)), 1) == [270]
    assert stopped(Pruning(SuccessiveHalving(), 270, range(9)), 9) == [270, 90, 90, *[30] * 6]
    assert stopped(Pruning(NoPruner(), 270, range(9)), 9) == [270] * 9


def test_hyperband_in_a_population_gives_each_its_true_step() -> None:
    rates = [0.3 * 0.8**i for i in range(8)]
    candidates = [Candidate(rule="g", lr=lr, seed=seed) for lr in rates for seed in (0, 1)]
    protocol = Protocol(steps=18, pruner=Hyperband(reduction=3, min_steps=2))
    families = [row // 2 for row in range(16)]
    results = train_population(find_task("wine"), candidates, protocol, families=families)
    ends = [(result.step, result.state) for result in results]
    assert ends[::2] == ends[1::2], "seeds of one candidate stop together"
    brackets = [
        [step for step, _ in ends[::2][part]] for part in (slice(4), slice(4, 7), slice(7, 8))
    ]
    assert [sorted(steps) for steps in brackets] == [[2, 2, 6, 18], [6, 6, 18], [18]]
    assert all((step == 18) == (state is TrialState.COMPLETE) for step, state in ends)
    assert all(result.curve[-1].step == result.step for result in results)


@pytest.mark.parametrize("pruner", [SuccessiveHalving(), Hyperband(), Hyperband(reduction=2)])
@pytest.mark.parametrize("rivals", [2, None])
@pytest.mark.parametrize("steps", [100, 300, 3000])
def test_the_fewest_rows_are_those_of_which_some_are_stopped(
    pruner: SuccessiveHalving | Hyperband, rivals: int | None, steps: int
) -> None:
    def stopped(rows: int) -> list[int]:
        """Return how many stop at each rung."""
        scores = {row: float(row) for row in range(rows)}
        pruning = Pruning(pruner, steps, scores)
        found = []
        for rung in range(len(pruning.rungs)):
            gone = pruning.losers(scores, rung)
            scores = {row: score for row, score in scores.items() if row not in gone}
            found.append(len(gone))
        return found

    wanted = (rivals or pruner.reduction) - 1
    rows = fewest(pruner, steps, rivals)
    assert max(stopped(rows)) >= wanted
    assert rows == 1 or max(stopped(rows - 1)) < wanted


def test_no_rows_are_too_few_where_none_are_compared() -> None:
    assert fewest(NoPruner(), 300) == fewest(Asha(), 300) == 1
