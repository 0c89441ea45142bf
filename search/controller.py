"""The controller: a recurrent network that writes token strings under a grammar's masks."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

INITIAL = 0.1
"""Weights begin uniform in ±0.1 (Zoph et al. 2018, appendix)."""


class Grammar(Protocol):
    """Which strings may be written: `search.language.Language`, or anything like it."""

    @property
    def length(self) -> int:
        """Tokens of every string."""
        ...

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        ...

    def mask(self, prefixes: Tensor) -> Tensor:
        """Say which tokens may follow prefixes [rows, k]: bool [rows, vocabulary]."""
        ...


class Sample(NamedTuple):
    """Strings as they were drawn."""

    tokens: Tensor
    """int64 [rows, length]."""

    log_probs: Tensor
    """Log-probability of each string under the distribution it was drawn from, [rows]."""


class Scores(NamedTuple):
    """What the controller now thinks of given strings, differentiable in its weights."""

    log_probs: Tensor
    """[rows]."""

    entropies: Tensor
    """Mean over the string's places of the entropy in nats of each next-token choice, [rows]."""


class Controller(nn.Module):
    """A one-layer LSTM that reads the last token and scores the next (Bello et al. 2017, §3.3).

    Every place of the string has softmax weights of its own. Illegal tokens have probability
    zero exactly, and no gradient.
    """

    def __init__(self, grammar: Grammar, hidden: int, seed: int) -> None:
        """Build a controller with `hidden` units and weights drawn from `seed`."""
        super().__init__()
        self.grammar = grammar
        self.hidden = hidden
        self.embedding = nn.Embedding(grammar.vocabulary + 1, hidden)
        self.cell = nn.LSTMCell(hidden, hidden)
        self.heads = nn.ModuleList(
            nn.Linear(hidden, grammar.vocabulary) for _ in range(grammar.length)
        )
        generator = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            nn.init.uniform_(weight, -INITIAL, INITIAL, generator=generator)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator, temperature: float = 1.0) -> Sample:
        """Draw `count` strings; a temperature above 1 flattens every choice.

        The log-probabilities returned are those of the flattened distribution.
        """
        rows: Tensor = torch.empty(count, 0, dtype=torch.int64)
        state = self._start(count)
        total = torch.zeros_like(state[0][:, 0])
        for place in range(self.grammar.length):
            state, log_probs = self._next(rows, state, place, temperature)
            token = torch.multinomial(log_probs.exp(), 1, generator=generator)
            total += log_probs.gather(1, token)[:, 0]
            rows = torch.cat([rows, token], dim=1)
        return Sample(rows, total)

    def masks(self, tokens: Tensor) -> Tensor:
        """Say which tokens were legal at each place of strings: bool [length, rows, vocabulary]."""
        return torch.stack(
            [self.grammar.mask(tokens[:, :place]) for place in range(self.grammar.length)]
        )

    def score(self, tokens: Tensor, masks: Tensor | None = None) -> Scores:
        """Return log-probabilities and entropies of strings.

        Args:
            tokens: int64 [rows, length].
            masks: what `masks` says of them, where that is known already.
        """
        legal = self.masks(tokens) if masks is None else masks
        log_probs = torch.log_softmax(self._logits(tokens).masked_fill(~legal, -torch.inf), dim=2)
        total = log_probs.gather(2, tokens.T.unsqueeze(2)).sum(dim=(0, 2))
        # An illegal token has log-probability -inf; its share of the entropy is 0.
        finite = log_probs.masked_fill(~legal, 0.0)
        return Scores(total, -(log_probs.exp() * finite).sum(dim=2).mean(dim=0))

    def _logits(self, tokens: Tensor) -> Tensor:
        """Return what every place thinks of its next token, [length, rows, vocabulary].

        The strings are known, so that all places' softmax weights are applied at once.
        """
        start = torch.full_like(tokens[:, :1], self.grammar.vocabulary)
        inputs = self.embedding(torch.cat([start, tokens[:, :-1]], dim=1))
        state, states = self._start(len(tokens)), []
        for given in inputs.unbind(1):
            state = self.cell(given, state)
            states.append(state[0])
        weight, bias = (
            torch.stack([head.get_parameter(name) for head in self.heads])
            for name in ("weight", "bias")
        )
        return torch.baddbmm(bias.unsqueeze(1), torch.stack(states), weight.transpose(1, 2))

    def _start(self, rows: int) -> tuple[Tensor, Tensor]:
        zeros = self.embedding.weight.new_zeros(rows, self.hidden)
        return zeros, zeros

    def _next(
        self, prefix: Tensor, state: tuple[Tensor, Tensor], place: int, temperature: float
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Step the network; return its state and the next token's log-probabilities."""
        start = torch.full((prefix.shape[0],), self.grammar.vocabulary)
        last = prefix[:, -1] if place else start
        h, c = self.cell(self.embedding(last), state)
        logits = self.heads[place](h) / temperature
        logits = logits.masked_fill(~self.grammar.mask(prefix), float("-inf"))
        return (h, c), torch.log_softmax(logits, dim=1)


def uniform(grammar: Grammar, count: int, generator: torch.Generator) -> Sample:
    """Draw strings by choosing evenly among the legal tokens at every place."""
    rows: Tensor = torch.empty(count, 0, dtype=torch.int64)
    total = torch.zeros(count)
    for _ in range(grammar.length):
        legal = grammar.mask(rows).float()
        rows = torch.cat([rows, torch.multinomial(legal, 1, generator=generator)], dim=1)
        total -= legal.sum(dim=1).log()
    return Sample(rows, total)
