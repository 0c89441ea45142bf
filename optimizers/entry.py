"""What the catalogue says of one named optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from dsl.candidate import Decay


@dataclass(frozen=True)
class Entry:
    """A named optimizer: rule text, defaults, paper.

    The optimizer does `w ← w − lr_t·u`, with `u` the rule's value, and weight decay beside it.
    """

    name: str
    rule: str
    """Rule text, see `dsl.text`."""

    lr: float
    """Default learning rate: torch's where torch has the optimizer, the paper's elsewhere."""

    paper: str
    """Authors, year, and where to find it."""

    decay: Decay = "none"
    """How `weight_decay` is applied, see `dsl.candidate.Decay`."""

    weight_decay: float = 0.0
    """Default λ."""

    note: str = ""
    """Which convention this is, where conventions differ."""

    @cached_property
    def hyperparameters(self) -> Mapping[str, float]:
        """The rule's hyperparameters by name with their defaults, in the order of the text."""
        # Loaded when first needed, so that listing the names needs no torch.
        from dsl.compile import compile_rule

        return MappingProxyType(dict(compile_rule(self.rule).hyperparameters))
