"""Proximal policy optimisation of the controller (Schulman et al. 2017, arXiv 1707.06347)."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from search.controller import Controller, Scores
from search.settings import Reinforcement

SPEED, MOST = 0.5, 20.0
"""How fast, in logarithms a batch, and how far the entropy bonus rises when rules repeat."""


class Batch(NamedTuple):
    """Strings with what came of them; all but `tokens` are [rows]."""

    tokens: Tensor
    """int64 [rows, length]."""

    log_probs: Tensor
    """Log-probability of each string when it was drawn, under what it was drawn from."""

    advantages: Tensor
    """How much better than others each turned out, see `Ranking` and `Baseline`."""

    weights: Tensor | None = None
    """How much each row counts; the loss is their weighted sum. None is the plain mean."""


def loss(controller: Controller, batch: Batch, clip: float, entropy: float) -> Tensor:
    """Return the clipped surrogate loss less the entropy bonus (ibid., equations 7 and 9).

    While the controller is still the one that drew the strings, the gradient of this is minus
    the policy gradient.
    """
    return surrogate(controller.score(batch.tokens), batch, clip, entropy)


def surrogate(scores: Scores, batch: Batch, clip: float, entropy: float) -> Tensor:
    """Return `loss` of strings that are scored already."""
    ratio = (scores.log_probs - batch.log_probs).exp()
    near = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * batch.advantages, near * batch.advantages)
    gain = gain + entropy * scores.entropies
    rows = len(batch.tokens)
    weights = torch.full_like(gain, 1 / rows) if batch.weights is None else batch.weights
    value: Tensor = -torch.dot(gain, weights)
    return value


class Baseline:
    """Moving averages of the rewards and of their spread.

    Advantages are given in units of the spread, so that the entropy bonus weighs the same
    whatever a task's losses are.
    """

    def __init__(self, past: float) -> None:
        """Weigh the past by `past` for each reward heard."""
        self.past = past
        self.mean = 0.0
        self.square = 0.0
        self.heard = 0

    def update(self, rewards: Tensor) -> None:
        """Hear of rewards, one after the other in effect: a batch of n weighs the past past^n."""
        n = rewards.numel()
        if n == 0:
            return
        # The first rewards set the averages: a start from 0 would call them all good or all bad.
        keep = self.past**n if self.heard else 0.0
        self.mean = keep * self.mean + (1 - keep) * float(rewards.mean())
        square = float((rewards - self.mean).square().mean())
        self.square = keep * self.square + (1 - keep) * square
        self.heard += n

    def advantages(self, rewards: Tensor) -> Tensor:
        """Return how far rewards stand above the baseline, in spreads."""
        return (rewards - self.mean) / max(math.sqrt(self.square), 1e-6)


class Ranking:
    """Advantages by rank among the last rewards, most of them for the very best.

    A reward above the share a of the last ones scores -log(1 - a) - 1, the exponential scores of
    Savage 1956: from -1 for the worst to log(n) for the best of n, 0 in the mean, whatever the
    rewards' spread. So what tells good rules apart counts beside what tells them from hopeless
    ones. Utilities by rank are those of natural evolution strategies (Wierstra et al. 2014, arXiv
    1106.4487, section 3.1); that the few best weigh most, where a search is judged by those, is
    the aim of risk-seeking policy gradients (Petersen et al. 2021, arXiv 1912.04871).
    """

    def __init__(self, window: int) -> None:
        """Compare with the last `window` rewards."""
        self.recent = torch.full((window,), torch.nan)

    def update(self, rewards: Tensor) -> None:
        """Hear of rewards."""
        self.recent = torch.cat([self.recent, rewards.to(self.recent)])[-len(self.recent) :]

    def advantages(self, rewards: Tensor) -> Tensor:
        """Return the mean score over the ranks that each reward shares with its equals."""
        heard = self.recent[~self.recent.isnan()].sort().values
        n = len(heard)
        low = torch.searchsorted(heard, rewards.to(heard), right=False).clamp(max=n - 1) / n
        high = torch.searchsorted(heard, rewards.to(heard), right=True) / n
        high = torch.maximum(high, low + 1 / n).clamp(max=1.0)
        # (1 - a) log(1 - a) is the integral of the scores.
        return (torch.xlogy(1 - high, 1 - high) - torch.xlogy(1 - low, 1 - low)) / (high - low)


class Learner:
    """Improves a controller from strings and their rewards."""

    def __init__(self, controller: Controller, settings: Reinforcement) -> None:
        """Train `controller` by Adam at the settings' learning rate."""
        self.controller = controller
        self.settings = settings
        self.baseline = Baseline(settings.baseline)
        self.ranking = Ranking(settings.ranked)
        self.entropy = settings.entropy
        """The weight of the entropy bonus now."""

        self.optimizer = torch.optim.Adam(controller.parameters(), lr=settings.learning_rate)

    def adapt(self, share: float) -> None:
        """Raise the entropy bonus while the share of new rules is short of `fresh`, or lower it.

        It never falls below the settings' and never rises above `MOST` times that.
        """
        raised = self.entropy * math.exp(SPEED * (self.settings.fresh - share))
        least = self.settings.entropy
        self.entropy = min(max(raised, least), MOST * least)

    def learn(
        self,
        tokens: Tensor,
        log_probs: Tensor,
        rewards: Tensor,
        generator: torch.Generator,
        best: Tensor | None = None,
    ) -> None:
        """Hear of a batch: baseline and ranks first, then `epochs` passes in minibatches.

        Args:
            tokens: int64 [rows, length].
            log_probs: log-probabilities when the strings were drawn, [rows].
            rewards: [rows], finite.
            best: strings to make more likely beside (Abolafia et al. 2018), [any, length].
            generator: shuffles the minibatches.
        """
        if not len(tokens):
            return
        self.baseline.update(rewards)
        if self.settings.ranked:
            self.ranking.update(rewards)
            advantages = self.ranking.advantages(rewards)
        else:
            advantages = self.baseline.advantages(rewards)
        likely = tokens[:0] if best is None else best
        # Which tokens are legal depends on the strings alone: one look serves every pass.
        masks = self.controller.masks(torch.cat([tokens, likely]))
        imitated = torch.arange(len(tokens), masks.shape[1])
        for _ in range(self.settings.epochs):
            order = torch.randperm(len(tokens), generator=generator)
            for rows in torch.split(order, self.settings.minibatch):
                batch = Batch(tokens[rows], log_probs[rows], advantages[rows])
                self._step(batch, likely, masks[:, torch.cat([rows, imitated])])

    def state(self) -> dict[str, Any]:
        """Return all that learning has changed, as tensors (the learner's own) and numbers."""
        return {
            "controller": self.controller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "entropy": self.entropy,
            "recent": self.ranking.recent,
            "baseline": [self.baseline.mean, self.baseline.square, self.baseline.heard],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.entropy = state["entropy"]
        self.ranking.recent = state.get("recent", self.ranking.recent)  # earlier versions had none
        self.baseline.mean, self.baseline.square, self.baseline.heard = state["baseline"]

    def _step(self, batch: Batch, best: Tensor, masks: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        scores = self.controller.score(torch.cat([batch.tokens, best]), masks)
        rows = len(batch.tokens)
        value = surrogate(
            Scores(*(part[:rows] for part in scores)), batch, self.settings.clip, self.entropy
        )
        if len(best):
            value = value - self.settings.imitation * scores.log_probs[rows:].mean()
        torch.autograd.backward(value)
        self.optimizer.step()
