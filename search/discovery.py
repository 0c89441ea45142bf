"""Strategies that discover rules: sample strings of a language, learn from how they train."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from dsl.candidate import Candidate, Proposal
from dsl.canonical import canonical_text
from dsl.errors import RuleError
from dsl.outcome import Outcome
from dsl.text import parse
from dsl.validate import checked
from search.controller import Controller, Sample, uniform
from search.identity import named
from search.language import Language
from search.ledger import Ledger, check_count, derived_seed, teaches
from search.ppo import Learner
from search.reward import FLOOR, natural_reward, reward
from search.settings import Objective, Reinforcement
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
        checked(parse(rule))
    except RuleError:
        return None
    return rule


class RuleStrategy:
    """What all discovery shares: no rule twice, numbers, the budget, the walk back from rows.

    The budget counts distinct rules judged. A string whose rule behaves as a known one does (see
    `search.identity`), or that a static check refuses, is never proposed. All draws of a call of
    `ask` come from a generator seeded by the job's seed and the first new number.
    """

    def __init__(
        self,
        language: Language,
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
            name = proposal.behaviour
            key = bytes.fromhex(name) if name else named(proposal.candidate, canonical=True)
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

    def _draw(self, count: int, temperature: float, generator: torch.Generator) -> Sample:
        """Draw strings; only a strategy that learns heeds the temperature."""
        return uniform(self.language, count, generator)

    def _learn(self, told: Sequence[tuple[Proposal, float]]) -> None:
        """Learn from proposals and their rewards, in the order of numbers."""

    def _relearn(self, told: Sequence[tuple[Proposal, float]], snapshot: bytes | None) -> None:
        """Learn from a former search's proposals what the snapshot does not know."""

    def _memo(self, tokens: list[int], log_prob: float, repeats: list[Any]) -> dict[str, Any]:
        """Return what learning from a proposal will need."""
        return {}

    def _reward(self, outcome: Outcome) -> float:
        return reward(outcome, self.objective, natural_reward(self.objective))

    def _new(self, count: int) -> list[Proposal]:
        """Return up to `count` rules never proposed; fewer only if the language runs dry."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self._ledger.next))
        found: list[tuple[Candidate, bytes, list[int], float]] = []
        repeats: list[tuple[list[int], float, int]] = []
        first = self._ledger.next
        for sample in self._rounds(count, found, generator):
            for tokens, log_prob in zip(
                sample.tokens.tolist(), sample.log_probs.tolist(), strict=True
            ):
                if len(found) == count:
                    break
                candidate = self._candidate(tokens)
                key = b"" if candidate is None else named(candidate, canonical=True)
                if candidate is None or key in self._numbers:
                    repeats.append((tokens, log_prob, self._numbers.get(key, FAULTY)))
                else:
                    self._numbers[key] = first + len(found)
                    found.append((candidate, key, tokens, log_prob))
        self._exhausted = len(found) < count
        return [
            self._ledger.open(
                Proposal(
                    number=first + i,
                    candidate=candidate,
                    behaviour=key.hex(),
                    memo=self._memo(tokens, log_prob, repeats[i :: len(found)][:REPEATS]),
                )
            )
            for i, (candidate, key, tokens, log_prob) in enumerate(found)
        ]

    def _candidate(self, tokens: list[int]) -> Candidate | None:
        """Return what a string says, put into the template; None if it is refused."""
        rule = self._identity(self.language.decode(tokens))
        return None if rule is None else self.template.model_copy(update={"rule": rule})

    def _rounds(
        self, count: int, found: Sequence[Any], generator: torch.Generator
    ) -> Iterable[Sample]:
        """Yield strings to look through, flatter and at last evenly drawn while new ones lack."""
        temperature = 1.0
        for _ in range(ROUNDS):
            before = len(found)
            missing = count - before
            if not missing:
                return
            yield self._draw(missing, temperature, generator)
            if len(found) - before < SCARCE * missing:
                temperature *= FLATTER
        for _ in range(EVEN_ROUNDS):
            if len(found) == count:
                return
            yield uniform(self.language, max(count, EVEN_ROWS), generator)


class RandomStrategy(RuleStrategy):
    """Chooses evenly among the legal tokens at every place; learns nothing."""


class ReinforcementStrategy(RuleStrategy):
    """An LSTM controller that PPO teaches which strings train well.

    Each proposal's memo holds its tokens, and some of the strings drawn with it that said a rule
    already known: those are learnt from too when the proposal is told, with the known reward but
    no more than the baseline. So drawing a good rule again never pays, and the controller does
    not end by writing its favourites for ever; drawing a bad one again still costs. Rows and the
    snapshot say everything.
    """

    def __init__(
        self,
        language: Language,
        objective: Objective,
        budget: int,
        template: Candidate,
        seed: int,
        settings: Reinforcement,
        identity: Callable[[str], str | None] = rule_of,
    ) -> None:
        """Search as `settings` say; see `RuleStrategy` for the rest."""
        super().__init__(language, objective, budget, template, seed, identity)
        controller = Controller(language, settings.hidden, derived_seed(seed, 0))
        self.learner = Learner(controller, settings)
        self._rewards: dict[int, float] = {
            FAULTY: FLOOR[natural_reward(objective)],
        }
        self._below = 0
        self._beyond: set[int] = set()

    def abandon(self, numbers: Sequence[int]) -> None:
        """See `Strategy.abandon`."""
        super().abandon(numbers)
        self._mark(numbers)

    def snapshot(self) -> bytes | None:
        """Return the controller, its optimizer and baseline, and which trials taught them."""
        buffer = io.BytesIO()
        beyond = sorted(self._beyond)
        torch.save(
            {"learner": self.learner.state(), "below": self._below, "beyond": beyond}, buffer
        )
        return buffer.getvalue()

    def _draw(self, count: int, temperature: float, generator: torch.Generator) -> Sample:
        return self.learner.controller.sample(count, generator, temperature)

    def _memo(self, tokens: list[int], log_prob: float, repeats: list[Any]) -> dict[str, Any]:
        return {
            "tokens": tokens,
            "log_prob": log_prob,
            "repeats": [{"tokens": t, "log_prob": p, "number": number} for t, p, number in repeats],
        }

    def _learn(self, told: Sequence[tuple[Proposal, float]]) -> None:
        if not told:
            return
        self._rewards.update((proposal.number, value) for proposal, value in told)
        baseline = self.learner.baseline
        most = baseline.mean if baseline.heard else min(value for _, value in told)
        rows: list[tuple[list[int], float, float]] = []
        for proposal, value in told:
            memo = proposal.memo
            rows.append((memo["tokens"], memo["log_prob"], value))
            for repeat in memo["repeats"]:
                if repeat["number"] in self._rewards:
                    known = min(self._rewards[repeat["number"]], most)
                    rows.append((repeat["tokens"], repeat["log_prob"], known))
        tokens, log_probs, rewards = zip(*rows, strict=True)
        first = told[0][0].number
        generator = torch.Generator().manual_seed(derived_seed(self.seed + 1, first))
        self.learner.learn(
            torch.tensor(tokens), torch.tensor(log_probs), torch.tensor(rewards), generator
        )
        self._mark(proposal.number for proposal, _ in told)

    def _mark(self, numbers: Iterable[int]) -> None:
        """Remember that numbers are dealt with, in little room: nearly all follow each other."""
        self._beyond.update(number for number in numbers if number >= self._below)
        while self._below in self._beyond:
            self._beyond.remove(self._below)
            self._below += 1

    def _relearn(self, told: Sequence[tuple[Proposal, float]], snapshot: bytes | None) -> None:
        if snapshot is not None:
            state = torch.load(io.BytesIO(snapshot), weights_only=True)
            self.learner.load(state["learner"])
            self._below = state["below"]
            self._beyond = set(state["beyond"])
        for proposal, value in told:
            if proposal.number < self._below or proposal.number in self._beyond:
                self._rewards[proposal.number] = value
        missed = [row for row in told if row[0].number not in self._rewards]
        for start in range(0, len(missed), EVEN_ROWS):
            self._learn(missed[start : start + EVEN_ROWS])
