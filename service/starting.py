"""The rules that a discover job names: those its search starts from."""

from collections.abc import Iterator

from dsl.errors import RuleError, nearest
from dsl.text import parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE
from search.settings import Evolution, StrategySettings
from service.bounds import Fault


def rule_named(name: str) -> str:
    """Return the text of a rule of the catalogue, or the text that was given."""
    return CATALOGUE[name].rule if name in CATALOGUE else name


def faults_of_start(strategy: StrategySettings) -> Iterator[Fault]:
    """Yield the faults of the rules that a search is to start from."""
    if not isinstance(strategy, Evolution):
        return
    for i, name in enumerate(strategy.start):
        try:
            check(parse(rule_named(name)))
        except RuleError as error:
            hint = nearest(name, list(CATALOGUE))
            yield (
                ("strategy", "start", i),
                f"'{name[:64]}' is neither the text of a rule ({error}) nor a name of the "
                f"catalogue (GET /optimizers){'. ' + hint if hint else ''}",
            )
