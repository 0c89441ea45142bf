"""The laws of `search.strategy.Strategy`, as checks that any strategy can be put through."""

import copy
import pickle
from collections.abc import Callable

import pytest

from dsl.candidate import Proposal
from dsl.outcome import Outcome, TrialState
from search.strategy import History, Strategy

Make = Callable[[], Strategy]
Answer = Callable[[Proposal], Outcome]
Rows = list[tuple[Proposal, Outcome | None]]


def answer(proposal: Proposal) -> Outcome:
    """Judge a proposal by a rule of thumb that meets every state an outcome can have."""
    number = proposal.number
    if number % 7 == 3:
        return Outcome(number=number, state=TrialState.INFEASIBLE, reason="loss is nan at step 3")
    text = proposal.candidate.model_dump_json()
    loss = 0.05 + sum(text.encode()) % 997 / 400
    state = TrialState.PRUNED if number % 5 == 2 else TrialState.COMPLETE
    return Outcome(number=number, state=state, step=30, metrics={"validation_loss": loss})


def run(strategy: Strategy, count: int, rows: Rows | None = None, upto: int = 10**9) -> Rows:
    """Ask and tell whole populations until the strategy is finished or `upto` are asked."""
    rows = [] if rows is None else rows
    while not strategy.finished and len(rows) < upto:
        proposals = strategy.ask(count)
        assert proposals, "nothing is outstanding, so ask owes a proposal"
        outcomes = [answer(proposal) for proposal in proposals]
        strategy.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    return rows


def restored(make: Make, history: History, snapshot: bytes | None) -> Strategy:
    strategy = make()
    strategy.restore(history, snapshot)
    return strategy


def check_numbers_and_finish(make: Make) -> None:
    """Laws 1 to 3."""
    strategy = make()
    assert not strategy.finished
    rows = run(strategy, 8)
    assert [proposal.number for proposal, _ in rows] == list(range(len(rows)))
    assert strategy.finished
    assert strategy.ask(4) == []
    assert run(make(), 8) == rows, "the seed decides all"


def check_waiting(make: Make) -> None:
    """Laws 2 and 3: asking without telling ends in waiting, and late answers are enough."""
    strategy = make()
    waiting: list[Proposal] = []
    while proposals := strategy.ask(5):
        assert len(proposals) <= 5
        waiting += proposals
    assert not strategy.finished
    strategy.tell([answer(p) for p in reversed(waiting[1:])])
    assert not strategy.finished
    strategy.tell([answer(waiting[0])])
    run(strategy, 5)
    assert strategy.finished


def check_telling(make: Make) -> None:
    """Law 4: twice is once, and strangers are refused and change nothing."""
    one, two = make(), make()
    for strategy in (one, two):
        strategy.tell([answer(p) for p in strategy.ask(6)])
    first = answer(run(make(), 6, upto=1)[0][0])
    one.tell([first])
    for stranger in (10**6, -1):
        with pytest.raises(ValueError, match=str(stranger)):
            one.tell([first.model_copy(update={"number": stranger})])
        with pytest.raises(ValueError, match=str(stranger)):
            one.abandon([stranger])
    assert one.ask(6) == two.ask(6)


def check_abandoning(make: Make) -> None:
    """Law 5; and a FAILED or CANCELLED outcome is the same as abandoning."""
    one, two = make(), make()
    for strategy in (one, two):
        proposals = strategy.ask(6)
        strategy.tell([answer(p) for p in proposals[:4]])
        if strategy is one:
            strategy.abandon([4, 5])
        else:
            states = [TrialState.FAILED, TrialState.CANCELLED]
            strategy.tell([Outcome(number=4 + i, state=s) for i, s in enumerate(states)])
    again = two.ask(6)
    assert one.ask(6) == again
    one.abandon(range(6))
    two.tell([answer(p) for p in again])
    rest = run(two, 6)
    assert two.finished
    assert not {4, 5} & {proposal.number for proposal, _ in rest}


def check_restoring(make: Make) -> None:
    """Laws 6 and 7: with open trials, with and without a snapshot, with an old one."""
    strategy = make()
    rows = run(strategy, 6, upto=12)
    old = strategy.snapshot()
    rows = run(strategy, 6, rows, upto=18)
    new = strategy.snapshot()
    waiting = strategy.ask(6)
    history: Rows = [*rows, *((p, None) for p in waiting)]
    for snapshot in (new, old, None):
        again = restored(make, history, snapshot)
        assert not again.finished
        assert again.ask(4) + again.ask(len(waiting) - 4) == waiting
        again.tell([answer(p) for p in waiting])
        if snapshot is new:
            other = copy.deepcopy(strategy)
            other.tell([answer(p) for p in waiting])
            assert again.snapshot() == other.snapshot()
            assert run(again, 6) == run(other, 6)
        else:
            run(again, 6)
        assert again.finished


def check_gaps(make: Make) -> None:
    """Law 6: numbers left out and failed ones count as abandoned."""
    rows = run(make(), 6, upto=18)
    failed = Outcome(number=5, state=TrialState.FAILED)
    history: Rows = [*rows[:5], (rows[5][0], failed), *rows[6:9], *rows[10:]]
    strategy = restored(make, history, None)
    numbers = [proposal.number for proposal, _ in run(strategy, 6)]
    assert numbers == list(range(len(rows), len(rows) + len(numbers)))
    assert strategy.finished
    for wrong in (rows[::-1], [*rows, rows[-1]]):
        with pytest.raises(ValueError, match="order of numbers"):
            restored(make, wrong, None)


def check_pickling(make: Make) -> None:
    """Law 8: between any two calls, and the copy goes on alike."""
    strategy = pickle.loads(pickle.dumps(make()))
    plain = make()
    while not plain.finished:
        left, right = plain.ask(5), strategy.ask(5)
        assert left == right
        strategy = copy.deepcopy(pickle.loads(pickle.dumps(strategy)))
        plain.tell([answer(p) for p in left])
        strategy.tell([answer(p) for p in right])
        strategy = pickle.loads(pickle.dumps(strategy))
    assert strategy.finished


LAWS = [
    check_numbers_and_finish,
    check_waiting,
    check_telling,
    check_abandoning,
    check_restoring,
    check_gaps,
    check_pickling,
]
