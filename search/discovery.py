"""Strategies that discover rules: sample strings of a language, learn from how they train."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from dsl.candidate import Candidate, Proposal
from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.outcome import Outcome
from dsl.validate import program_of
from search.controller import Sample, uniform
from search.distinct import Distinct
from search.identity import is_current, named
from search.language import Sayable
from search.ledger import Ledger, check_count, derived_seed, teaches
from search.reward import natural_reward, reward
from search.settings import Objective
from search.strategy import History

ROUNDS = 24
"""Rounds of sampling in which one call of `ask` looks for rules that are new."""

EVEN_ROUNDS = 8
"""After those, rounds of even sampling; nothing new in them all means that nothing is left."""

EVEN_ROWS = 256
"""Strings of an even round, at least."""

SCARCE = 0.5
"""Below this share of new rules in a round, the next round's choices are flattened."""

FLATTER = 1.25
"""By how much the temperature then rises."""

REPEATS = 2
"""Strings that said nothing new, remembered with each new one to learn from."""

FAULTY = -1
"""Stands for the number of a trial in the memo of a string whose rule no trial can have."""


def rule_of(text: str) -> str | None:
    """Return the canonical text of a rule, None if a static check refuses it.

    The check reads the canonical form, where `0 * g` no longer hides that it is constant.
    """
    try:
        rule = canonical_text(text)
        program_of(rule)
    except RuleError:
        return None
    return rule


class Drawn(NamedTuple):
    """A rule that was sampled."""

    text: str
    note: dict[str, Any]
    """How it was sampled, as the strategy wants it remembered."""


Repeat = tuple[Drawn, int]
"""A sampled rule that was not new, with the number of the trial that has it, or one so like it
that it was put off, or FAULTY."""


class _New(NamedTuple):
    """A rule that was never proposed."""

    candidate: Candidate
    key: bytes
    drawn: Drawn


class RuleStrategy(ABC):
    """What all discovery shares: no rule twice, numbers, the budget, the walk back from rows.

    The budget counts distinct rules judged. A string whose rule behaves as a known one does (see
    `search.identity`), or that a static check refuses, is never proposed. All draws of a call of
    `ask` come from a generator seeded by the job's seed and the first new number.
    """

    def __init__(
        self,
        language: Sayable,
        objective: Objective,
        budget: int,
        template: Candidate,
        seed: int,
        identity: Callable[[str], str | None] = rule_of,
    ) -> None:
        """Judge `budget` rules of `language`, each put into `template`.

        `identity` returns the text under which a rule is tried, None to refuse it. Texts that
        behave alike once they are in the template are the same rule.
        """
        self.language = language
        self.objective = objective
        self.budget = budget
        self.template = template
        self.seed = seed
        self._identity = identity
        self.sampled = 0
        """Rules drawn so far, repeats and refused ones included. Every memo says it, with the
        share of new ones among those drawn in the same call."""

        self._ledger = Ledger()
        self._numbers: dict[bytes, int] = {}
        self._exhausted = False

    def ask(self, count: int) -> list[Proposal]:
        """See `Strategy.ask`. A language that has no new rule left finishes the search."""
        check_count(count)
        proposals = self._ledger.take_again(count)
        count = min(count - len(proposals), self.budget - self._ledger.next)
        if count > 0 and not self._exhausted:
            proposals += self._new(count)
        return proposals

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """See `Strategy.tell`."""
        rewards = {o.number: self._reward(o) for o in outcomes if teaches(o)}
        told = self._ledger.settle_all(outcome.number for outcome in outcomes)
        told = sorted((p for p in told if p.number in rewards), key=lambda p: p.number)
        self._learn([(proposal, rewards[proposal.number]) for proposal in told])

    def abandon(self, numbers: Sequence[int]) -> None:
        """See `Strategy.abandon`. The rule stays known: it is not proposed under a new number."""
        self._ledger.settle_all(numbers)

    def restore(self, history: History, snapshot: bytes | None) -> None:
        """See `Strategy.restore`."""
        self._ledger.restore(history)
        told = []
        for proposal, outcome in history:
            self.sampled = max(self.sampled, proposal.memo.get("sampled", 0))
            key = bytes.fromhex(proposal.behaviour or "")
            if not is_current(key):  # a job that an earlier version began
                key = named(proposal.candidate, canonical=True)
            self._numbers.setdefault(key, proposal.number)
            if outcome is not None and teaches(outcome):
                told.append((proposal, self._reward(outcome)))
        self._relearn(told, snapshot)

    def snapshot(self) -> bytes | None:
        """See `Strategy.snapshot`."""
        return None

    @property
    def finished(self) -> bool:
        """See `Strategy.finished`."""
        spent = self._exhausted or self._ledger.next >= self.budget
        return spent and not self._ledger.outstanding

    def _learn(self, told: Sequence[tuple[Proposal, float]]) -> None:  # noqa: B027 - chance needs none
        """Learn from proposals and their rewards, in the order of numbers."""

    def _relearn(  # noqa: B027 - chance needs none
        self, told: Sequence[tuple[Proposal, float]], snapshot: bytes | None
    ) -> None:
        """Learn from a former search's proposals what the snapshot does not know."""

    def _memo(self, drawn: Drawn, repeats: Sequence[Repeat]) -> dict[str, Any]:
        """Return what learning from a proposal will need, its share of the repeats included."""
        return {}

    def _reward(self, outcome: Outcome) -> float:
        return reward(outcome, self.objective, natural_reward(self.objective))

    @abstractmethod
    def _rounds(self, count: int, found: Sequence[Any], seed: int) -> Iterable[Iterable[Drawn]]:
        """Yield rules to look through until `found` holds `count` new ones; all from `seed`."""

    def _new(self, count: int) -> list[Proposal]:
        """Return up to `count` rules never proposed; fewer only if the language runs dry.

        Near-copies are proposed only in the place of nothing.
        """
        found: list[_New] = []
        near: dict[bytes, _New] = {}
        repeats: list[Repeat] = []
        originals = self._originals()
        first, before = self._ledger.next, self.sampled
        for drawn in self._rounds(count, found, derived_seed(self.seed, first)):
            for each in drawn:
                if len(found) == count:
                    break
                self.sampled += 1
                candidate = self._candidate(each.text)
                key = b"" if candidate is None else named(candidate, canonical=True)
                if candidate is None or key in self._numbers:
                    repeats.append((each, self._numbers.get(key, FAULTY)))
                    continue
                like = originals.near(candidate) if originals else None
                if like is not None:
                    repeats.append((each, like))
                    near.setdefault(key, _New(candidate, key, each))
                    continue
                if originals:
                    originals.know(candidate, first + len(found))
                self._numbers[key] = first + len(found)
                found.append(_New(candidate, key, each))
        found += list(near.values())[: count - len(found)]
        self._numbers.update((new.key, first + i) for i, new in enumerate(found))
        self._exhausted = len(found) < count
        counted = {
            "sampled": self.sampled,
            "fresh": len(found) / max(1, self.sampled - before),
        }
        return [
            self._ledger.open(
                Proposal(
                    number=first + i,
                    candidate=candidate,
                    behaviour=key.hex(),
                    memo=counted | self._memo(each, repeats[i :: len(found)][:REPEATS]),
                )
            )
            for i, (candidate, key, each) in enumerate(found)
        ]

    def _originals(self) -> Distinct | None:
        """Return the trials whose near-copies are put off, by number; None to put off none."""
        return None

    def _is_new(self, text: str) -> bool:
        """Tell whether a text says a rule, and one that was never proposed."""
        candidate = self._candidate(text)
        return candidate is not None and named(candidate, canonical=True) not in self._numbers

    def _candidate(self, text: str) -> Candidate | None:
        """Return a rule put into the template; None if it is refused."""
        rule = self._identity(text)
        return None if rule is None else self.template.model_copy(update={"rule": rule})


class StringStrategy(RuleStrategy):
    """What strategies that write token strings share: rounds of drawing until rules are new."""

    def _draw(self, count: int, temperature: float, generator: torch.Generator) -> Sample:
        """Draw strings; only a strategy that learns heeds the temperature."""
        return uniform(self.language, count, generator)

    def _rounds(self, count: int, found: Sequence[Any], seed: int) -> Iterable[Iterable[Drawn]]:
        """Yield strings, flatter and at last evenly drawn ones while new ones lack."""
        generator = torch.Generator().manual_seed(seed)
        temperature = 1.0
        for _ in range(ROUNDS):
            before = len(found)
            missing = count - before
            if not missing:
                return
            yield self._read(self._draw(missing, temperature, generator))
            if len(found) - before < SCARCE * missing:
                temperature *= FLATTER
        for _ in range(EVEN_ROUNDS):
            if len(found) == count:
                return
            yield self._read(uniform(self.language, max(count, EVEN_ROWS), generator))

    def _read(self, sample: Sample) -> Iterator[Drawn]:
        strings = zip(sample.tokens.tolist(), sample.log_probs.tolist(), strict=True)
        for tokens, log_prob in strings:
            note = {"tokens": tokens, "log_prob": log_prob}
            yield Drawn(self.language.decode(tokens), note)


class RandomStrategy(StringStrategy):
    """Chooses evenly among the legal tokens at every place; learns nothing."""
