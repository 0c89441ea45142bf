"""A language of one rule and where in it which decay stands: `PowerSign-cd`, `AddSign-rd10`.

Bello et al. 2017, section 3.2, lists the decays; section 5 puts them into the rules found, before
the signs' agreement or the whole update.

`random` and `reinforcement` search it. Evolution is refused: its changes are of trees, and would
change the rule itself, which is what this language holds fixed; one decay in a rule of ten parts
makes 90 strings and two make 3,645, which even sampling goes through.
"""

from collections.abc import Sequence
from math import comb

import torch
from torch import Tensor

from dsl.expression import Call, Expression, Number
from dsl.text import format_rule
from search.language import Language
from search.mutation import at, inlined, replaced, walk
from search.settings import LanguageSettings
from search.words import extent, kind_of, tree_of

DECAYS = ("1", "ld", "cd", "cd(1)", "cd(2)", "rd", "rd(2)", "rd(5)", "rd(10)")
"""`1` is none: fewer decays than the language has room for can be said, or no decay at all."""

NONE = Number(1.0)


class Decays:
    """Token strings of pairs (place, decay), and the rules they say.

    A place is a part of the rule that has a value per tensor or weight, in the order of the text,
    the whole update first; its value is multiplied by the decay. Places follow in that order, so
    no set of decays is said twice. Tokens are numbered through: places, decays.
    """

    def __init__(self, settings: LanguageSettings, rule: str) -> None:
        """Put the decays that `settings.operands` lists, or the usual ones, into a rule.

        Raises:
            RuleError: the rule is none.
            ValueError: it has fewer places than `settings.groups`, or no room.
        """
        self.decays = settings.operands or DECAYS
        self.pairs = settings.groups
        self.length = 2 * self.pairs
        self._tree = inlined(rule)
        probe = tree_of("ld", 0)
        self._places = [
            path
            for path, node in walk(self._tree)
            if kind_of(node) and kind_of(replaced(self._tree, path, Call("mul", (probe, node))))
        ]
        self.vocabulary = len(self._places) + len(self.decays)
        if len(self._places) < self.pairs:
            count = len(self._places)
            raise ValueError(
                f"the rule has {count} place{'' if count == 1 else 's'} for a decay, and groups is "
                f"{self.pairs}; give at most {count}, or a larger rule"
            )
        if extent(self._tree).exceeds():
            raise ValueError("the rule is too large for decays to be put into it")

    @property
    def size(self) -> int:
        """How many strings the masks allow."""
        sets = comb(len(self._places), self.pairs)
        return sets * int(len(self.decays) ** self.pairs)

    def mask(self, prefixes: Tensor) -> Tensor:
        """Say which tokens may come next, see `Language.mask`."""
        rows, k = prefixes.shape
        if k >= self.length:
            raise ValueError(f"a string has {self.length} tokens: none comes after token {k}")
        pair, place = divmod(k, 2)
        legal = torch.zeros(rows, self.vocabulary, dtype=torch.bool)
        count = len(self._places)
        if place:
            legal[:, count:] = True
        else:
            # Enough places must be left for the pairs to come.
            legal[:, pair : count - (self.pairs - pair) + 1] = True
            if pair:
                legal &= torch.arange(self.vocabulary) > prefixes[:, -2:-1]
        return legal

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the rule with its decays.

        Raises:
            ValueError: the masks do not allow the string.
        """
        if not self._allows(tokens):
            raise ValueError(f"the language does not allow the tokens {list(tokens)}")
        tree = self._tree
        # From the last place to the first: paths of earlier ones stay as they are.
        for place, decay in reversed(list(zip(tokens[::2], tokens[1::2], strict=True))):
            path = self._places[place]
            factor = tree_of(self.decays[decay - len(self._places)], 0)
            if factor != NONE:
                tree = replaced(tree, path, Call("mul", (factor, at(tree, path))))
        return format_rule(Expression((), tree))

    def _allows(self, tokens: Sequence[int]) -> bool:
        prefixes = [torch.tensor([tokens[:k]], dtype=torch.int64) for k in range(len(tokens))]
        return len(tokens) == self.length and all(
            0 <= token < self.vocabulary and bool(self.mask(prefix)[0, token])
            for token, prefix in zip(tokens, prefixes, strict=True)
        )


def language_of(settings: LanguageSettings) -> Language | Decays:
    """Return the language that a job's settings describe.

    Raises:
        RuleError: a rule is named and is none.
        ValueError: nothing can be said in it, or its rules are too large.
    """
    if settings.rule is not None:
        return Decays(settings, settings.rule)
    return Language(settings)
