"""The study of strategies, small: what it counts, and what a search lacks."""

import torch

from dsl.outcome import TrialState
from tests.benchmarks.study_search import (
    GUESSING,
    LANGUAGE,
    TOP,
    evaluation,
    ranked,
    search,
    strategy_of,
    trained,
    tried,
)


def test_what_a_search_lacks_to_ten_rules_counts_as_guessing() -> None:
    threads = torch.get_num_threads()
    found = search("random", 0, 2)
    torch.set_num_threads(threads)
    assert found.trained == 2
    assert found.judged > found.trained
    assert found.losses[2:] == (GUESSING,) * (TOP - 2)


def test_trained_rules_are_counted_not_those_that_screening_refused() -> None:
    rows = tried(strategy_of("random", LANGUAGE, 1000, 0), evaluation(), 3)
    steps = [outcome.cost_steps for _, outcome in rows]
    assert sum(step > 0 for step in steps) == trained(rows) == 3
    assert steps[-1] > 0, "it ends with the last one wanted"
    refused = [outcome for _, outcome in rows if not outcome.cost_steps]
    assert refused
    assert all(outcome.state is TrialState.INFEASIBLE for outcome in refused)
    losses = [outcome.metrics["validation_loss"] for _, outcome in ranked(rows)]
    assert losses == sorted(losses)
    assert len(losses) == sum(outcome.state is TrialState.COMPLETE for _, outcome in rows)
