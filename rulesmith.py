"""The face for users: `from rulesmith import Client, RuleOptimizer, to_torch, catalogue`.

Names are loaded when they are first used, so that the client needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsl.export import to_torch
    from optimizers import catalogue
    from optimizers.rule import RuleOptimizer
    from service.client import Client

_HOMES = {
    "Client": ("service.client", "Client"),
    "RuleOptimizer": ("optimizers.rule", "RuleOptimizer"),
    "catalogue": ("optimizers.catalogue", None),
    "to_torch": ("dsl.export", "to_torch"),
}

__all__ = ["Client", "RuleOptimizer", "catalogue", "to_torch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rulesmith' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    home = import_module(module)
    return home if attribute is None else getattr(home, attribute)
