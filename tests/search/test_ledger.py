import pytest

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from search.ledger import Ledger, derived_seed


def proposal(number: int) -> Proposal:
    return Proposal(number=number, candidate=Candidate(rule="g"))


def test_numbers_follow_each_other_and_settle_once() -> None:
    ledger = Ledger(first=3)
    ledger.open(proposal(3))
    ledger.open(proposal(4))
    with pytest.raises(ValueError, match="not the next one, 5"):
        ledger.open(proposal(7))
    assert ledger.settle(4) == proposal(4)
    assert ledger.settle(4) is None
    assert ledger.outstanding == 1
    with pytest.raises(ValueError, match="trial 5 was never asked; asked: trials 3 to 4"):
        ledger.settle_all([3, 5])
    assert ledger.settle_all([3, 4]) == [proposal(3)], "a refused call settles nothing"
    with pytest.raises(ValueError, match="asked: none"):
        Ledger().settle(0)


def test_what_is_settled_is_not_asked_again() -> None:
    ledger = Ledger()
    done = Outcome(number=1, state=TrialState.COMPLETE)
    ledger.restore([(proposal(0), None), (proposal(1), done), (proposal(4), None)])
    assert (ledger.next, ledger.outstanding) == (5, 2)
    ledger.settle(0)
    assert ledger.take_again(9) == [proposal(4)]
    assert ledger.take_again(9) == []
    with pytest.raises(ValueError, match="restore comes first"):
        ledger.restore([])


def test_derived_seeds_differ_by_seed_and_by_number() -> None:
    seeds = {derived_seed(seed, number) for seed in range(50) for number in range(50)}
    assert len(seeds) == 2500
    assert derived_seed(1, 2) == derived_seed(1, 2)
    assert max(seeds) < 2**32
