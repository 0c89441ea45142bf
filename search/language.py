"""The token language a controller speaks: groups of five tokens that decode to a rule.

Bello et al. 2017 (arXiv 1709.07417), section 3: a group (op1, op2, u1, u2, b) says
b(u1(op1), u2(op2)); its result joins the operands of the groups after it, and the last group's
result is the update.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from search.settings import LanguageSettings

GROUP = 5
"""Tokens of a group: two operands, two unary operators, a binary one."""


@dataclass(frozen=True)
class Lists:
    """What may be said: texts of operands, and operators with `{x}`, `{y}` for their arguments."""

    operands: tuple[str, ...]
    unary: tuple[str, ...]
    binary: tuple[str, ...]


NOS = Lists(
    operands=(
        *("g", "g^2", "g^3", "m", "v", "y", "sign(g)", "sign(m)", "1", "2"),
        # ε ~ N(0, 0.01) names the variance, as the decays the paper's authors published do
        # (TensorFlow's NoisyLinearCosineDecay), so the standard deviation is 0.1.
        "noise(0.1)",
        *("0.0001 * w", "0.001 * w", "0.01 * w", "0.1 * w", "adam", "rmsprop"),
    ),
    unary=(
        *("{x}", "-{x}", "exp({x})", "log(abs({x}))", "sqrt(abs({x}))"),
        *("clip({x}, 0.00001)", "clip({x}, 0.0001)", "clip({x}, 0.001)"),
        *("drop({x}, 0.1)", "drop({x}, 0.3)", "drop({x}, 0.5)", "sign({x})"),
    ),
    binary=("{x} + {y}", "{x} - {y}", "{x} * {y}", "{x} / ({y} + 0.00000001)", "{x}"),
)
"""The lists of Bello et al. 2017, section 3.2: 17 operands, 12 unary and 5 binary operators."""

PRESETS: dict[str, Lists] = {"nos": NOS}


class Language:
    """Token strings of a fixed number of groups, and the rules they say.

    Tokens are numbered through: operands, results of earlier groups, unary operators, binary
    operators. In a group op1 and op2 differ, and every group but the first uses at least one
    earlier result (Bello et al. 2017, section 3.1). Every string the mask allows decodes.
    """

    def __init__(self, settings: LanguageSettings, lists: Lists | None = None) -> None:
        """Speak the preset's lists, or the given ones, in `settings.groups` groups."""
        self.lists = PRESETS[settings.preset] if lists is None else lists
        self.groups = settings.groups
        self.length = GROUP * self.groups
        self._results = len(self.lists.operands)
        self._unary = self._results + self.groups - 1
        self._binary = self._unary + len(self.lists.unary)
        self.vocabulary = self._binary + len(self.lists.binary)

    @property
    def size(self) -> int:
        """How many strings the masks allow."""
        base = len(self.lists.operands)
        rest = len(self.lists.unary) ** 2 * len(self.lists.binary)
        total = base * (base - 1) * rest
        for earlier in range(1, self.groups):
            bank = base + earlier
            total *= (bank * (bank - 1) - base * (base - 1)) * rest
        return total

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
        group, place = divmod(k, GROUP)
        legal = torch.zeros(rows, self.vocabulary, dtype=torch.bool)
        if place in (0, 1):
            legal[:, : self._results + group] = True
        elif place in (2, 3):
            legal[:, self._unary : self._binary] = True
        else:
            legal[:, self._binary :] = True
        if place == 1:
            first = prefixes[:, -1]
            if group > 0:
                legal[:, : self._results] &= (first >= self._results)[:, None]
            legal[torch.arange(rows), first] = False
        return legal

    def allows(self, tokens: Sequence[int]) -> bool:
        """Return whether the masks allow a string; the same as following `mask`, but quicker."""
        if len(tokens) != self.length:
            return False
        for group, start in enumerate(range(0, self.length, GROUP)):
            op1, op2, u1, u2, b = tokens[start : start + GROUP]
            bank = self._results + group
            if not (0 <= op1 < bank and 0 <= op2 < bank and op1 != op2):
                return False
            if group > 0 and max(op1, op2) < self._results:
                return False
            if not (self._unary <= u1 < self._binary and self._unary <= u2 < self._binary):
                return False
            if not self._binary <= b < self.vocabulary:
                return False
        return True

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the rule text that a string says.

        Earlier results are written out where they are used, so a result that nothing uses
        leaves no trace.

        Raises:
            ValueError: the masks do not allow the string.
        """
        if not self.allows(tokens):
            raise ValueError(f"the language does not allow the tokens {list(tokens)}")
        bank = [f"({text})" if " " in text else text for text in self.lists.operands]
        for start in range(0, self.length, GROUP):
            op1, op2, u1, u2, b = tokens[start : start + GROUP]
            x = self.lists.unary[u1 - self._unary].format(x=bank[op1])
            y = self.lists.unary[u2 - self._unary].format(x=bank[op2])
            bank.append("(" + self.lists.binary[b - self._binary].format(x=x, y=y) + ")")
        return bank[-1][1:-1]

    def strings(self) -> Iterator[tuple[int, ...]]:
        """Yield every legal string, in lexicographic order; `size` says how many."""
        unary = range(self._unary, self._binary)
        binary = range(self._binary, self.vocabulary)
        groups = []
        for group in range(self.groups):
            bank = range(self._results + group)
            pairs = [
                (a, b)
                for a, b in product(bank, bank)
                if a != b and (group == 0 or max(a, b) >= self._results)
            ]
            groups.append([(*p, *rest) for p in pairs for rest in product(unary, unary, binary)])
        for parts in product(*groups):
            yield tuple(token for part in parts for token in part)
