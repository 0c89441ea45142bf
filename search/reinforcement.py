"""Discovery by reinforcement: a controller learns which strings say rules that train well."""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

import torch

from dsl.candidate import Candidate, Proposal
from search.controller import Controller, Sample
from search.discovery import EVEN_ROWS, FAULTY, Drawn, Repeat, StringStrategy, rule_of
from search.distinct import Distinct, distinct
from search.language import Sayable
from search.ledger import derived_seed
from search.ppo import Learner
from search.reward import FLOOR, natural_reward
from search.settings import Objective, Reinforcement

ELITE = 8
"""Of so many rules that trained, one is imitated, up to `replay`."""

Best = tuple[float, int, list[int]]
"""Minus the reward, the number and the tokens of a string."""


class ReinforcementStrategy(StringStrategy):
    """An LSTM controller that PPO teaches which strings train well.

    Each proposal's memo holds its tokens, and some of the strings drawn with it that said a rule
    already known: those are learnt from too when the proposal is told, with the known reward but
    less than the baseline. So drawing a good rule again never pays, and the controller does not
    end by writing its favourites for ever; drawing a bad one again still costs. A near-copy of one
    of the best rules so far (`search.distinct`) is taken for that rule, and is not tried while
    others are found. It learns nothing until a few rules have trained, lest it settle on the first.
    Its entropy bonus rises while rules repeat, the best strings so far are imitated, and a
    controller that has long found nothing good is replaced. Rows and the snapshot say everything.
    """

    def __init__(
        self,
        language: Sayable,
        objective: Objective,
        budget: int,
        template: Candidate,
        seed: int,
        settings: Reinforcement,
        identity: Callable[[str], str | None] = rule_of,
    ) -> None:
        """Search as `settings` say; see `RuleStrategy` for the rest."""
        super().__init__(language, objective, budget, template, seed, identity)
        self.settings = settings
        self.learner = self._fresh_learner(0)
        self._best: list[Best] = []
        self._restarts = 0
        self._in_vain = 0
        self._floor = FLOOR[natural_reward(objective)]
        self._rewards: dict[int, float] = {FAULTY: self._floor}
        self._living = 0
        self._below = 0
        self._beyond: set[int] = set()

    def _fresh_learner(self, restart: int) -> Learner:
        seed = derived_seed(self.seed, restart)
        return Learner(Controller(self.language, self.settings.hidden, seed), self.settings)

    def abandon(self, numbers: Sequence[int]) -> None:
        """See `Strategy.abandon`."""
        super().abandon(numbers)
        self._mark(numbers)

    def snapshot(self) -> bytes | None:
        """Return the controller, its optimizer and baseline, and which trials taught them."""
        buffer = io.BytesIO()
        beyond = sorted(self._beyond)
        torch.save(
            {
                "learner": self.learner.state(),
                "below": self._below,
                "beyond": beyond,
                "best": self._best,
                "restarts": self._restarts,
                "in_vain": self._in_vain,
            },
            buffer,
        )
        return buffer.getvalue()

    def _draw(self, count: int, temperature: float, generator: torch.Generator) -> Sample:
        return self.learner.controller.sample(count, generator, temperature)

    def _memo(self, drawn: Drawn, repeats: Sequence[Repeat]) -> dict[str, Any]:
        return {
            **drawn.note,
            "repeats": [{**each.note, "number": number} for each, number in repeats],
        }

    def _learn(self, told: Sequence[tuple[Proposal, float]]) -> None:
        if not told:
            return
        self._hear(told)
        self._keep_best(told)
        if self._living >= self.settings.first:
            self._teach(told)
        self._restart_in_vain()
        self._mark(proposal.number for proposal, _ in told)

    def _hear(self, told: Sequence[tuple[Proposal, float]]) -> None:
        self._rewards.update((proposal.number, value) for proposal, value in told)
        self._living += sum(value > self._floor for _, value in told)

    def _teach(self, told: Sequence[tuple[Proposal, float]]) -> None:
        most = self._worth_of_known([value for _, value in told])
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
        self.learner.adapt(fmean(proposal.memo.get("fresh", 1.0) for proposal, _ in told))
        self.learner.learn(
            torch.tensor(tokens),
            torch.tensor(log_probs),
            torch.tensor(rewards),
            generator,
            self._imitated(),
        )

    def _worth_of_known(self, told: Sequence[float]) -> float:
        """Return the most that a rule drawn again is worth."""
        baseline = self.learner.baseline
        if not baseline.heard:
            return min(told)
        return baseline.mean - self.settings.novelty * math.sqrt(baseline.square)

    def _keep_best(self, told: Sequence[tuple[Proposal, float]]) -> None:
        replay = max(1, self.settings.replay)
        before = self._best[:replay]
        new = [(-value, p.number, p.memo["tokens"]) for p, value in told if value > self._floor]
        ranked = sorted([*self._best, *new])
        if self.settings.leaders:
            places = distinct(map(self._said, ranked), max(replay, self.settings.leaders))
            self._best = [ranked[place] for place in places]
        else:
            self._best = ranked[:replay]
        self._in_vain = self._in_vain + len(told) if self._best[:replay] == before else 0

    def _originals(self) -> Distinct | None:
        if not self.settings.leaders:
            return None
        originals = Distinct()
        for best in self._best[: self.settings.leaders]:
            originals.know(self._said(best), best[1])
        return originals

    def _said(self, best: Best) -> Candidate:
        rule = self.language.decode(best[2])
        return self._candidate(rule) or self.template.model_copy(update={"rule": rule})

    def _imitated(self) -> torch.Tensor | None:
        """Return the strings to learn from again, None if there is none."""
        most = min(self.settings.replay, math.ceil(self._living / ELITE))
        best = [tokens for _, _, tokens in self._best[:most]]
        return torch.tensor(best) if best else None

    def _restart_in_vain(self) -> None:
        """Begin with a new controller once the old one has long found nothing better."""
        if self.settings.patience is None or self._in_vain < self.settings.patience:
            return
        self._restarts += 1
        self._in_vain = 0
        before = self.learner
        self.learner = self._fresh_learner(self._restarts)
        self.learner.baseline, self.learner.ranking = before.baseline, before.ranking

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
            self._best = state["best"]
            self._restarts, self._in_vain = state["restarts"], state["in_vain"]
            self._below = state["below"]
            self._beyond = set(state["beyond"])
        known = [row for row in told if row[0].number < self._below]
        self._hear([*known, *(row for row in told if row[0].number in self._beyond)])
        missed = [row for row in told if row[0].number not in self._rewards]
        for start in range(0, len(missed), EVEN_ROWS):
            self._learn(missed[start : start + EVEN_ROWS])
