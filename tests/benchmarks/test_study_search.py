"""The study of strategies, small: what it counts, and what a search lacks."""

import torch

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from tests.benchmarks.study_search import (
    GUESSING,
    LANGUAGE,
    METRIC,
    TOP,
    Row,
    best_distinct,
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


def test_near_copies_of_better_rules_are_not_among_the_best() -> None:
    losses = {"m + 0.0001 * g": 0.2, "g": 0.5, "m": 0.1, "sign(g)": 0.3, "2 * sign(g)": 0.4}
    rows: list[Row] = []
    for number, (rule, loss) in enumerate(losses.items()):
        outcome = Outcome(number=number, state=TrialState.COMPLETE, metrics={METRIC: loss})
        rows.append((Proposal(number=number, candidate=Candidate(rule=rule)), outcome))
    refused = Outcome(number=5, state=TrialState.INFEASIBLE, reason="loss is nan")
    rows.append((Proposal(number=5, candidate=Candidate(rule="w * g")), refused))
    rules = ["m", "sign(g)", "g"]
    assert [proposal.candidate.rule for proposal, _ in best_distinct(rows)] == rules
    assert [proposal.candidate.rule for proposal, _ in best_distinct(rows, 2)] == rules[:2]
