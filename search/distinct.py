"""Which of the best candidates are finds of their own, and which near-copies of better ones.

A search for update rules finds its best one many times over, each time with something beside it
that does not count: `sign(m)`, `sign(m) + clip(w, 0.0001)`. What compares or imitates the best
takes the best distinct ones.
"""

from collections.abc import Iterable

import torch

from dsl.candidate import Candidate
from dsl.likeness import course
from search.identity import behaviour

ALIKE = 0.98
"""Rules of more likeness are near-copies. Of the pairs of 308 rules found on `digits-mlp` that are
above 0.96, nineteen in twenty are above 0.99: hardly any depend on where the line is."""


class Distinct:
    """Candidates of which none is a near-copy of one that was added before it.

    Every learning rate counts as tuned and seeds do not count, as after a search. Candidates with
    other hyperparameters, schedules or batch sizes can be near-copies only in the first; those
    with a decay, and other libraries' optimizers, are copies only of what is the same
    (`search.identity`).
    """

    def __init__(self, known: Iterable[Candidate] = ()) -> None:
        """Begin with `known` candidates, which may be near-copies of each other."""
        self._numbers: dict[str, int] = {}
        self._courses: dict[str, list[tuple[torch.Tensor, int]]] = {}
        for candidate in known:
            self.know(candidate)

    def add(self, candidate: Candidate) -> bool:
        """Add a candidate if it is no near-copy; return whether it was none.

        Raises:
            RuleError: The candidate's rule is none.
        """
        if self.near(candidate) is not None:
            return False
        self.know(candidate)
        return True

    def near(self, candidate: Candidate) -> int | None:
        """Return the number of one that a candidate is a near-copy of, None if of none.

        Raises:
            RuleError: The candidate's rule is none.
        """
        own = _course(candidate)
        if own is None:
            return self._numbers.get(behaviour(_tuned(candidate)))
        others = self._courses.get(_circumstances(candidate), [])
        return next((number for other, number in others if float(own @ other) > ALIKE), None)

    def know(self, candidate: Candidate, number: int = 0) -> None:
        """Add a candidate, near-copy or not, under a number.

        Raises:
            RuleError: The candidate's rule is none.
        """
        own = _course(candidate)
        if own is None:
            self._numbers.setdefault(behaviour(_tuned(candidate)), number)
        else:
            self._courses.setdefault(_circumstances(candidate), []).append((own, number))


def distinct(
    candidates: Iterable[Candidate], count: int, known: Iterable[Candidate] = ()
) -> list[int]:
    """Return the places of the first `count` candidates that are distinct.

    Args:
        candidates: The best first.
        count: How many are wanted at most.
        known: What none may be a near-copy of either.

    Raises:
        RuleError: A candidate's rule is none.
    """
    taken = Distinct(known)
    places: list[int] = []
    for place, candidate in enumerate(candidates):
        if len(places) == count:
            break
        if taken.add(candidate):
            places.append(place)
    return places


def _tuned(candidate: Candidate) -> Candidate:
    return candidate.model_copy(update={"lr": None})


def _course(candidate: Candidate) -> torch.Tensor | None:
    """Return what likeness is told by, None where it cannot be told."""
    decays = candidate.decay != "none" and candidate.weight_decay != 0.0
    if candidate.imported or decays:
        return None
    return course(candidate.rule, candidate.hyperparameters)


def _circumstances(candidate: Candidate) -> str:
    return candidate.model_dump_json(include={"schedule", "batch_size"})
