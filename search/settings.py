"""How a job searches: strategy, language. Part of the job's body."""

from typing import Annotated, Literal

from pydantic import Field

from dsl.schema import Frozen, Real
from dsl.text import MAX_LENGTH
from search.words import PRESETS, Lists, spelt

Unit = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


Weight = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
Words = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(min_length=1, max_length=64),
]


class LanguageSettings(Frozen):
    """Which rules a discover job can say."""

    preset: Literal["nos", "sign", "full", "decays"] = "nos"
    """`nos`: the operands, unary and binary operators of Bello et al. 2017; `sign`: g, m and their
    signs; `full`: averages, traces and norms of any expression, with their constants; `decays`:
    one `rule` with decays ld, cd, rd put before its parts (see `search.decays`; not for
    evolution, which would change the rule itself)."""

    groups: Annotated[int, Field(strict=True, ge=1, le=4)] = 2
    """Groups of five tokens (two operands, two unary operators, a binary one); of `decays`, how
    many there are at most."""

    rule: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)] | None = None
    """The rule whose decays are searched: its text, or a name of the catalogue (decays only)."""

    operands: Words | None = None
    """Instead of the preset's: expressions of the rule language, `sign(ema(g, 0.95))`; of
    `decays`, the decays."""

    unary: Words | None = None
    """Instead of the preset's: `exp({x})`, or an operator's name, `exp`."""

    binary: Words | None = None
    """Instead of the preset's: `{x} / ({y} + 1e-8)`, or an operator's name or symbol, `*`."""

    def lists(self) -> Lists:
        """Return the words that may be used: the job's where it names some, else the preset's."""
        named = (self.operands, self.unary, self.binary)
        own = PRESETS[self.preset]
        return Lists(
            *(
                tuple(spelt(word, places) for word in words) if words else preset
                for places, (words, preset) in enumerate(
                    zip(named, (own.operands, own.unary, own.binary), strict=True)
                )
            )
        )


class Reinforcement(Frozen):
    """An LSTM controller trained by PPO.

    Size, clipping, minibatches and baseline are those of Zoph et al. 2018 (NASNet, appendix) or
    near them. Theirs is a search of 20,000 strings with a learning rate of 0.00035, an entropy
    bonus of 0.00001 and rewards less their moving average. The defaults here are for hundreds to
    thousands: they learn faster, rank the rewards, and imitate the best strings so far.
    `ranked=0, first=0, leaders=0, imitation=0.0` with those numbers is that search. The last seven
    settings keep the search from settling on what it happens to find first, and from sampling its
    favourites for ever.
    """

    name: Literal["reinforcement"] = "reinforcement"
    hidden: Annotated[int, Field(strict=True, ge=8, le=1024)] = 100
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=1)] = 3e-3
    entropy: Unit = 0.02
    clip: Unit = 0.2
    epochs: Annotated[int, Field(strict=True, ge=1, le=32)] = 4
    minibatch: Annotated[int, Field(strict=True, ge=1, le=4096)] = 20
    baseline: Unit = 0.95
    """Weight of the past in the moving averages of the rewards and of their spread."""

    ranked: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 100
    """Among how many of the last rewards a new one is ranked, which gives its advantage; 0 takes
    the reward less the baseline, as the papers do."""

    first: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 32
    """Rules that must have trained before the controller learns: drawn nearly evenly, they show
    more of the language than the few that are alike and happen to train first."""

    fresh: Unit = 0.8
    """Share of new rules among the sampled ones; while it is smaller, the entropy bonus rises."""

    novelty: Weight = 0.5
    """How much less than the baseline a known rule is worth at most, in spreads of the reward."""

    leaders: Annotated[int, Field(strict=True, ge=0, le=1000)] = 64
    """Of how many of the best rules so far near-copies are not tried while other rules are found;
    0 tries them all. The best strings below are no near-copies of each other either."""

    replay: Annotated[int, Field(strict=True, ge=0, le=1000)] = 10
    """How many of the best strings so far are learnt from again in every batch."""

    imitation: Weight = 0.3
    """Weight of their log-likelihood beside the policy gradient: a priority queue's training
    (Abolafia et al. 2018, arXiv 1801.03526). A larger one finds more of what it has, sooner."""

    patience: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = 500
    """Rules in a row that do not come among the best `replay`, after which the controller begins
    anew; None is never."""


class Evolution(Frozen):
    """Regularised evolution (Real et al. 2019): the youngest rules have children, the oldest die.

    Populations of 100 to 1,000 are for tens of thousands of rules; the defaults are for hundreds
    to thousands.
    """

    name: Literal["evolution"] = "evolution"
    population: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 64
    tournament: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 8
    """Members drawn, the best of which has a child."""

    first: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 32
    """Rules that must have trained before the first child, or the whole population if that is
    smaller; after eight times as many that did not, children are made of what there is."""

    crossover: Unit = 0.2
    """Share of children with two parents."""

    brood: Annotated[int, Field(strict=True, ge=1, le=256)] = 8
    """Candidates among which each new rule is chosen untrained, as the one whose kin did best; 1
    trains every child. Those that are not chosen do not count as sampled."""

    strings: Unit = 0.3
    """Share of fresh strings of the language among the candidates, so that what is far from all
    that live has its chance."""

    copies: Unit = 0.2
    """Share of births at which a near-copy of a living rule will do: it may be a little better,
    where training tells so little apart."""

    changes: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    """Changes at most of a child that goes on saying a known rule, or nearly one."""

    constants: bool = False
    """Whether numbers in rules are changed too."""

    start: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)], ...],
        Field(max_length=256),
    ] = ()
    """Rules to start from: texts, or names of the catalogue."""


class Random(Frozen):
    """Uniform sampling under the language's masks."""

    name: Literal["random"] = "random"


StrategySettings = Annotated[Reinforcement | Evolution | Random, Field(discriminator="name")]

Reward = Literal["negative_log", "value"]
"""`negative_log`: -log of the objective, for losses; `value`: the objective, signed to maximise."""


class Objective(Frozen):
    """What is compared between trials."""

    metric: str = "validation_loss"
    direction: Literal["minimize", "maximize"] = "minimize"

    def sign(self) -> Real:
        """Return +1 if smaller is better, else -1."""
        return 1.0 if self.direction == "minimize" else -1.0
