"""The token language a controller speaks: groups of five tokens that decode to a rule.

Bello et al. 2017 (arXiv 1709.07417), section 3: a group (op1, op2, u1, u2, b) says
b(u1(op1), u2(op2)); its result joins the operands of the groups after it, and the last group's
result is the update.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor

from dsl.expression import Expression, Node
from dsl.text import MAX_DEPTH, MAX_LENGTH, MAX_NODES, format_rule
from search.controller import Grammar
from search.settings import LanguageSettings
from search.words import KINDS, ROOTS, Extent, Lists, filled, longest, outcomes, tree_of

GROUP = 5
"""Tokens of a group: two operands, two unary operators, a binary one."""

Kinds = tuple[int, ...]
"""Of which kinds (`search.words.KINDS`) the results of the groups said so far are."""


class Sayable(Grammar, Protocol):
    """A grammar whose strings say rules."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the rule text that a string says; ValueError if the masks do not allow it."""
        ...


class Language:
    """Token strings of a fixed number of groups, and the rules they say.

    Tokens are numbered through: operands, results of earlier groups, unary operators, binary
    operators. In a group op1 and op2 differ, and every group but the first uses at least one
    earlier result (Bello et al. 2017, section 3.1). An operator is only applied to kinds of
    values that it takes (no average of a number, no norm of a norm), and the gradient stands in
    every rule. No prefix is a dead end; every string the mask allows decodes to text that parses
    and resolves.
    """

    def __init__(self, settings: LanguageSettings, lists: Lists | None = None) -> None:
        """Speak the settings' lists, or the given ones, in `settings.groups` groups.

        Raises:
            ValueError: nothing can be said with these lists.
        """
        self.settings = settings
        self.lists = settings.lists() if lists is None else lists
        self.groups = settings.groups
        self.length = GROUP * self.groups
        self._results = len(self.lists.operands)
        self._unary = self._results + self.groups - 1
        self._binary = self._unary + len(self.lists.unary)
        self.vocabulary = self._binary + len(self.lists.binary)
        operands = [outcomes(word, 0)[0] for word in self.lists.operands]
        self._operand_kinds = [kind for kind in operands if kind is not None]
        self._after = [outcomes(word, 1) for word in self.lists.unary]
        self._joined = [outcomes(word, 2) for word in self.lists.binary]
        self._counts: dict[Kinds, int] = {}
        self._allowed: dict[tuple[int, ...], tuple[frozenset[int], Tensor]] = {}
        if len(self._operand_kinds) < len(operands) or not self.size:
            raise ValueError(
                "these lists say no rule: none with the gradient g in it can be put together; name "
                "an operand with g, and operators that take it"
            )
        if self.extent.exceeds():
            raise ValueError(
                f"the longest rules of {self.groups} groups have {self.extent.nodes} nodes, "
                f"{self.extent.depth} levels and {self.extent.length} characters; allowed: "
                f"{MAX_NODES}, {MAX_DEPTH - 2} and {MAX_LENGTH}: choose fewer groups or "
                "shorter words"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave what is only remembered for speed behind."""
        return type(self), (self.settings, self.lists)

    @property
    def size(self) -> int:
        """How many strings the masks allow."""
        return self._count(())

    @property
    def extent(self) -> Extent:
        """How large a rule can be at most."""
        return longest(self.lists, self.groups)

    def mask(self, prefixes: Tensor) -> Tensor:
        """Say which tokens may come next.

        Args:
            prefixes: tokens so far, int64 [rows, k] with k < length.

        Returns:
            Legal tokens, bool [rows, vocabulary]; at least one a row.

        Raises:
            ValueError: the prefixes are already whole strings.
        """
        rows, k = prefixes.shape
        if k >= self.length:
            raise ValueError(f"a string has {self.length} tokens: none comes after token {k}")
        if not rows:
            return torch.zeros(0, self.vocabulary, dtype=torch.bool)
        return torch.stack([self._next(tokens)[1] for tokens in prefixes.tolist()])

    def allows(self, tokens: Sequence[int]) -> bool:
        """Return whether the masks allow a string."""
        if len(tokens) != self.length:
            return False
        return all(token in self._next(tokens[:k])[0] for k, token in enumerate(tokens))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the rule text that a string says.

        Earlier results are written out where they are used, so a result that nothing uses
        leaves no trace.

        Raises:
            ValueError: the masks do not allow the string.
        """
        if not self.allows(tokens):
            raise ValueError(f"the language does not allow the tokens {list(tokens)}")
        bank: list[Node] = [tree_of(word, 0) for word in self.lists.operands]
        for start in range(0, self.length, GROUP):
            op1, op2, u1, u2, b = tokens[start : start + GROUP]
            x = filled(tree_of(self.lists.unary[u1 - self._unary], 1), bank[op1])
            y = filled(tree_of(self.lists.unary[u2 - self._unary], 1), bank[op2])
            bank.append(filled(tree_of(self.lists.binary[b - self._binary], 2), x, y))
        return format_rule(Expression((), bank[-1]))

    def strings(self) -> Iterator[tuple[int, ...]]:
        """Yield every legal string, in lexicographic order; `size` says how many."""
        stack: list[tuple[int, ...]] = [()]
        while stack:
            prefix = stack.pop()
            if len(prefix) == self.length:
                yield prefix
            else:
                stack.extend((*prefix, k) for k in sorted(self._next(prefix)[0], reverse=True))

    def _next(self, prefix: Sequence[int]) -> tuple[frozenset[int], Tensor]:
        """Return the tokens that may come next, as a set and as a row of the mask."""
        place = len(prefix) % GROUP
        results: Kinds = ()
        said: Kinds = ()
        for start in range(0, len(prefix) - place, GROUP):
            x, y = self._said(results, prefix[start : start + GROUP - 1])
            kind = self._joined[prefix[start + GROUP - 1] - self._binary][x * len(KINDS) + y]
            results = (*results, _sure(kind))
        if place > 1:
            said = self._said(results, prefix[-place:])
        # What is legal depends on kinds alone, but for op2, which must differ from op1.
        key = (place, *results, -1, *(prefix[-1:] if place == 1 else said))
        if key not in self._allowed:
            found = frozenset(self._legal(place, results, prefix[-1] if place == 1 else 0, said))
            row = torch.zeros(self.vocabulary, dtype=torch.bool)
            row[sorted(found)] = True
            self._allowed[key] = found, row
        return self._allowed[key]

    def _said(self, results: Kinds, group: Sequence[int]) -> Kinds:
        """Return the kinds of what b will take, as far as two to four tokens of a group say."""
        bank = [*self._operand_kinds, *results]
        kinds = [bank[token] for token in group[:2]]
        for place, u in enumerate(group[2:4]):
            kinds[place] = _sure(self._after[u - self._unary][kinds[place]])
        return tuple(kinds)

    def _legal(self, place: int, results: Kinds, first: int, said: Kinds) -> Iterator[int]:
        """Yield the tokens after which the string can be brought to its end."""
        bank = [*self._operand_kinds, *results]
        if place < 2:
            for a, b in self._pairs(len(results)):
                if (place == 0 or a == first) and self._ways(results, bank[a], bank[b]):
                    yield (a, b)[place]
        elif place < 4:
            for u, after in enumerate(self._after, self._unary):
                kind = after[said[place - 2]]
                if kind is None:
                    continue
                x, ys = (kind, [*self._reached(said[1])]) if place == 2 else (said[0], [kind])
                if any(self._ends(results, x, y) for y in ys):
                    yield u
        else:
            for b, joined in enumerate(self._joined, self._binary):
                kind = joined[said[0] * len(KINDS) + said[1]]
                if kind is not None and self._count((*results, kind)):
                    yield b

    def _pairs(self, earlier: int) -> Iterator[tuple[int, int]]:
        """Yield what op1 and op2 may be together after so many groups."""
        bank = range(self._results + earlier)
        for a, b in product(bank, bank):
            if a != b and (not earlier or max(a, b) >= self._results):
                yield a, b

    def _reached(self, kind: int) -> Counter[int]:
        """Return what kinds the unary operators make of a kind, and how many do."""
        kinds = (after[kind] for after in self._after)
        return Counter(each for each in kinds if each is not None)

    def _ends(self, results: Kinds, x: int, y: int) -> int:
        """Return in how many ways a string can end once b's arguments are of these kinds."""
        kinds = Counter(joined[x * len(KINDS) + y] for joined in self._joined)
        return sum(
            many * self._count((*results, kind)) for kind, many in kinds.items() if kind is not None
        )

    def _ways(self, results: Kinds, a: int, b: int) -> int:
        """Return in how many ways a string can end once the operands are of these kinds."""
        return sum(
            many * others * self._ends(results, x, y)
            for x, many in self._reached(a).items()
            for y, others in self._reached(b).items()
        )

    def _count(self, results: Kinds) -> int:
        """Return in how many ways a string can go on after groups with these results."""
        if len(results) == self.groups:
            return int(results[-1] in ROOTS)
        if results not in self._counts:
            bank = [*self._operand_kinds, *results]
            pairs = Counter((bank[a], bank[b]) for a, b in self._pairs(len(results)))
            self._counts[results] = sum(
                many * self._ways(results, *pair) for pair, many in pairs.items()
            )
        return self._counts[results]


def _sure(kind: int | None) -> int:
    if kind is None:
        raise ValueError("the language does not allow this string: mask first")
    return kind
