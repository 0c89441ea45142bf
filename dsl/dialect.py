"""How the update lines of a rule are said to a tensor library."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dsl.operators import Operator

__all__ = ["JAX", "TORCH", "Dialect"]


@dataclass(frozen=True)
class Dialect:
    """A tensor library's way to write operators."""

    module: str
    """The name that its functions are attributes of."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """Tensor templates (see `Operator`) of operators that the table's does not fit."""
    mixed: bool = True
    """Scalars and tensors need different functions, and scalars do not broadcast by themselves."""
    copy: str = "{slot}.copy_({value})"
    """Writes a slot that the next step reads."""
    fresh: str = "{value}.clone()"
    """A value that later lines do not change."""
    spread: str = "({value}).expand_as(g)"
    """One number per tensor as one per weight."""

    def tensor(self, row: Operator) -> str:
        """Return an operator's tensor template."""
        return self.templates.get(row.name) or row.tensor.replace("torch.", f"{self.module}.")


TORCH = Dialect("torch")
"""PyTorch; slots change in place."""

JAX = Dialect(
    "jnp",
    {
        "clip": "jnp.clip({0}, -{1}, {1})",
        "ema": "{slot} = {slot} + {complement} * ({0} - {slot})",
        "trace": "{slot} = {slot} * {1} + {0}",
        "total": "{slot} = {slot} + {0}",
        "runmax": "{slot} = jnp.maximum({slot}, {0})",
        "yogi": "{slot} = {slot} + {complement} * jnp.sign(({0}) - {slot}) * ({0})",
    },
    mixed=False,
    copy="{slot} = {value}",
    fresh="{value}",
    spread="jnp.broadcast_to({value}, g.shape)",
)
"""JAX; a slot's line gives its name a new value."""
