"""Regularised evolution of rules (Real et al. 2019, arXiv 1802.01548; Chen et al. 2023, Lion).

Which of several possible children is trained is chosen by what their kin came to: pre-selection by
a surrogate (Jin 2011, "Surrogate-assisted evolutionary computation", section 3).
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from dsl.candidate import Candidate, Proposal
from dsl.expression import Expression, Node
from dsl.text import format_rule, parse
from dsl.validate import check
from search.controller import uniform
from search.discovery import Drawn, Repeat, RuleStrategy, rule_of
from search.kinship import Kinship
from search.language import Language
from search.mutation import Variation, inlined
from search.reward import FLOOR, natural_reward
from search.settings import Evolution, Objective

ROUNDS = 24
"""Rounds of children in which one call of `ask` looks for rules that are new."""

EVEN_ROUNDS = 8
EVEN_ROWS = 256
"""After those, rounds of strings; nothing new in them all means that nothing is left."""


BARREN = 8
"""So many rules for each that should have trained are enough strings, however few have."""


class Member(NamedTuple):
    """A rule that was trained."""

    number: int
    reward: float
    rule: str


class EvolutionStrategy(RuleStrategy):
    """A population of the youngest rules; the best of a few drawn from it has a child.

    The first rules are those the search is started from, then strings of the language drawn
    evenly, until `first` of them have trained. From then on each rule is the most promising of a
    `brood`: children, each of the best of a tournament, mutated or crossed with the best of
    another one, and fresh strings among them. What a rule promises, and how good a parent is, is
    told by all that live and as many that fell (diverged, refused), the more the more alike they do
    (`search.kinship`): of many near-copies the luckiest is no better than the others, and what
    stands beside the fallen is worse than it looks. For the same reason a child that is known, or
    but for a share of the births a near-copy of one of those or of one being tried, is changed
    once more. The oldest dies, however good: the population is the last ones trained, by number.
    So the rows say everything, there is no snapshot, and outcomes may come in any order.
    """

    def __init__(
        self,
        language: Language,
        objective: Objective,
        budget: int,
        template: Candidate,
        seed: int,
        settings: Evolution,
        identity: Callable[[str], str | None] = rule_of,
    ) -> None:
        """Search as `settings` say; see `RuleStrategy` for the rest.

        Raises:
            RuleError: a rule to start from is none.
        """
        super().__init__(language, objective, budget, template, seed, identity)
        self.settings = settings
        for rule in settings.start:
            check(parse(rule))
        starts = tuple(inlined(rule) for rule in settings.start)
        self._starts = [_text(tree) for tree in starts]
        self._variation = Variation(language, settings.constants, starts)
        self._population: list[Member] = []
        self._fallen: list[Member] = []
        self._floor = FLOOR[natural_reward(objective)]

    def _memo(self, drawn: Drawn, repeats: Sequence[Repeat]) -> dict[str, Any]:
        return drawn.note

    def _learn(self, told: Sequence[tuple[Proposal, float]]) -> None:
        """Take rules into the population; those at the floor have fallen."""
        born = [Member(p.number, value, p.candidate.rule) for p, value in told]
        alive = [member for member in born if member.reward > self._floor]
        fallen = [member for member in born if member.reward <= self._floor]
        self._population = sorted([*self._population, *alive])[-self.settings.population :]
        self._fallen = sorted([*self._fallen, *fallen])[-self.settings.population :]

    def _relearn(self, told: Sequence[tuple[Proposal, float]], snapshot: bytes | None) -> None:
        self._learn(told)

    def _rounds(self, count: int, found: Sequence[Any], seed: int) -> Iterable[Iterable[Drawn]]:
        """Yield the rules to start from, strings, children; at last strings again."""
        first = self._ledger.next
        if first == 0:
            yield [Drawn(text, {"change": "start"}) for text in self._starts]
        draw = random.Random(seed)  # noqa: S311 - sampling, no secret
        kin = self._kin()
        for _ in range(ROUNDS):
            missing = count - len(found)
            if not missing:
                return
            if self._young(first):
                yield self._strings(missing, draw)
            else:
                yield (self._chosen(kin, draw) for _ in range(missing))
        for _ in range(EVEN_ROUNDS):
            if len(found) < count:
                yield self._strings(EVEN_ROWS, draw)

    def _young(self, number: int) -> bool:
        """Tell whether too few rules have trained to have children."""
        wanted = min(self.settings.first, self.settings.population)
        living = len(self._population)
        return not living or (living < wanted and number < BARREN * wanted)

    def _strings(self, count: int, draw: random.Random) -> Iterator[Drawn]:
        generator = torch.Generator().manual_seed(draw.randrange(2**31))
        for tokens in uniform(self.language, count, generator).tokens.tolist():
            yield Drawn(self.language.decode(tokens), {"change": "string"})

    def _kin(self) -> Kinship:
        """Return what rules came to; what is being tried is known to be near-copies of."""
        known = [(each.rule, each.reward) for each in (*self._fallen, *self._population)]
        kin = Kinship(known, self.template.hyperparameters)
        kin.enter(proposal.candidate.rule for proposal in self._ledger.waiting)
        return kin

    def _chosen(self, kin: Kinship, draw: random.Random) -> Drawn:
        """Return the most promising of a brood; one that is known only if all are."""
        barred = None if draw.random() < self.settings.copies else kin
        brood = [self._born(kin, barred, draw) for _ in range(self.settings.brood)]
        new = [(drawn, rule) for drawn in brood if (rule := self._find(drawn.text, barred))]
        if not new:
            return brood[0]
        drawn, rule = max(new, key=lambda each: kin.expected(each[1]))
        kin.enter([rule])
        return drawn

    def _born(self, kin: Kinship, barred: Kinship | None, draw: random.Random) -> Drawn:
        """Return a string, or a child of the fittest of a tournament, changed until it is new."""
        if draw.random() < self.settings.strings:
            return next(self._strings(1, draw))
        parent = self._fittest(kin, draw)
        tree, parents, changes = inlined(parent.rule), [parent.number], []
        if draw.random() < self.settings.crossover:
            other = self._fittest(kin, draw)
            tree, change = self._variation.crossed(tree, inlined(other.rule), draw)
            parents, changes = [parent.number, other.number], [change]
        while not changes or (
            len(changes) < self.settings.changes and not self._find(_text(tree), barred)
        ):
            tree, change = self._variation.mutated(tree, draw)
            changes.append(change)
        return Drawn(_text(tree), {"parents": parents, "change": ", ".join(changes)})

    def _find(self, text: str, barred: Kinship | None) -> str | None:
        """Return the canonical text of a new rule that is no near-copy of what is barred."""
        rule = self._identity(text)
        if not rule or (barred and barred.is_near(rule)):
            return None
        return rule if self._is_new(text) else None

    def _fittest(self, kin: Kinship, draw: random.Random) -> Member:
        size = min(self.settings.tournament, len(self._population))
        entered = draw.sample(self._population, size)
        return max(entered, key=lambda member: kin.expected(member.rule))


def _text(tree: Node) -> str:
    return format_rule(Expression((), tree))
