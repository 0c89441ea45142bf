"""What to expect of a rule that was never trained: what came of rules that do nearly the same.

Training is noisy, and rules are known by what they do (`dsl.likeness`). So what kin came to says
more of a rule than its own luck, and says it before the rule is trained.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from dsl.likeness import course
from search.distinct import ALIKE

MOST = 256
"""Known rules at most, the last ones: their courses take 25 kB each."""

POWER = 5
"""The kernel is the cosine of two rules' courses to this power; odd, so that of a rule's opposite
the opposite is expected. Of four times 150 random rules of the language `nos`, trained on digits,
each was estimated from the others: the ranks correlate with the true ones by 0.70 to 0.77, and by
0.70 to 0.76 at 3."""

NOISE = 0.3
"""Variance of a rank's noise beside that of the ranks themselves."""


class Kinship:
    """Kernel ridge regression of rewards' ranks over rules' courses.

    That is the mean of a Gaussian process (Rasmussen and Williams 2006, section 2.2). Ranks, since
    the reward of what diverges or hardly learns is far from all others.
    """

    def __init__(
        self,
        known: Sequence[tuple[str, float]],
        hyperparameters: Mapping[str, float] | None = None,
    ) -> None:
        """Learn from rules and their rewards, in any order; the last `MOST` count.

        Raises:
            RuleError: a rule is none.
        """
        self._hyperparameters = hyperparameters
        with_course = [(self._course(rule), reward) for rule, reward in known[-MOST:]]
        seen = [(each, reward) for each, reward in with_course if each is not None]
        self._known = _stacked([each for each, _ in seen])
        self._near = [self._known]
        kernel = (self._known @ self._known.T).double() ** POWER
        noise = NOISE * torch.eye(len(seen), dtype=torch.float64)
        self._weights = torch.linalg.solve(kernel + noise, _ranks([reward for _, reward in seen]))
        self._expected: dict[str, float] = {}

    def expected(self, rule: str) -> float:
        """Return the rank to expect, near -0.5 (worst of the known) to 0.5; 0 if nothing is like.

        For a known rule too, its own reward being one among those of its kin.

        Raises:
            RuleError: the rule is none.
        """
        if rule not in self._expected:
            own = self._course(rule)
            alike = None if own is None else (self._known @ own).double() ** POWER
            self._expected[rule] = 0.0 if alike is None else float(alike @ self._weights)
        return self._expected[rule]

    def is_near(self, rule: str) -> bool:
        """Tell whether a rule is a near-copy of a known one, or of one that was entered.

        Raises:
            RuleError: the rule is none.
        """
        own = self._course(rule)
        return own is not None and any(bool((near @ own > ALIKE).any()) for near in self._near)

    def enter(self, rules: Iterable[str]) -> None:
        """Take in rules of which no reward is known yet.

        Raises:
            RuleError: a rule is none.
        """
        found = [own for rule in rules if (own := self._course(rule)) is not None]
        self._near.append(_stacked(found))

    def _course(self, rule: str) -> Tensor | None:
        return course(rule, self._hyperparameters)


def _stacked(courses: Sequence[Tensor]) -> Tensor:
    """Return courses as rows, [rules, steps * weights]."""
    some = course("g")
    assert some is not None
    return torch.stack([*courses]) if courses else some.new_zeros(0, len(some))


def _ranks(rewards: Sequence[float]) -> Tensor:
    """Return ranks from -0.5 (least) to 0.5, equal ones for equal rewards, float64."""
    values = torch.tensor(rewards, dtype=torch.float64)
    order = values.sort().values
    below, upto = (torch.searchsorted(order, values, right=right) for right in (False, True))
    return (below + upto - 1).double() / (2 * max(1, len(values) - 1)) - 0.5
