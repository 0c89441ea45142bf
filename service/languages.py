"""What a discover job says of its language and of rules: read, and checked at submission."""

from collections.abc import Iterator

from dsl.errors import RuleError, nearest
from dsl.text import parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE
from search.decays import Decays, language_of
from search.language import Language
from search.settings import Evolution, LanguageSettings
from search.words import fault, kind_of, spelt, tree_of
from service.jobs import DiscoverJob
from service.refusals import Fault


def rule_named(name: str) -> str:
    """Return the text of a rule of the catalogue, or the text that was given."""
    return CATALOGUE[name].rule if name in CATALOGUE else name


def spoken(settings: LanguageSettings) -> Language | Decays:
    """Return a job's language; see `search.decays.language_of` for what is raised."""
    if settings.rule is not None:
        settings = settings.model_copy(update={"rule": rule_named(settings.rule)})
    return language_of(settings)


def faults_of_discovery(job: DiscoverJob) -> Iterator[Fault]:
    """Yield the faults of a job's language, and of the rules that it names."""
    if isinstance(job.strategy, Evolution):
        for i, name in enumerate(job.strategy.start):
            if why := _fault_of_rule(name):
                yield ("strategy", "start", i), why
        if job.language.preset == "decays":
            why = "evolution changes the rule itself, not its decays; choose 'random' or "
            yield ("strategy", "name"), why + "'reinforcement'"
    found = [*_faults_of_words(job.language), *_faults_of_decays(job.language)]
    yield from found
    if not found:
        try:
            spoken(job.language)
        except ValueError as error:
            yield ("language",), str(error)


def _faults_of_words(settings: LanguageSettings) -> Iterator[Fault]:
    for places, name in enumerate(("operands", "unary", "binary")):
        written = [spelt(word, places) for word in getattr(settings, name) or ()]
        for i, word in enumerate(written):
            first = written.index(word)
            if first < i:
                why: str | None = f"{word} is there already, at index {first}; leave this one out"
            else:
                why = fault(word, places)
            if why:
                yield ("language", name, i), why


def _faults_of_decays(settings: LanguageSettings) -> Iterator[Fault]:
    if settings.preset != "decays":
        if settings.rule is not None:
            yield (
                ("language", "rule"),
                "only the decays of a rule are searched; set preset to 'decays', or leave rule out "
                "(evolution starts from the rules in strategy.start)",
            )
        return
    if settings.rule is None:
        yield ("language", "rule"), "required with preset 'decays': the rule whose decays to search"
    elif why := _fault_of_rule(settings.rule):
        yield ("language", "rule"), why
    for name in ("unary", "binary"):
        if getattr(settings, name) is not None:
            yield ("language", name), "preset 'decays' has operands only: the decays"
    for i, word in enumerate(settings.operands or ()):
        if fault(word, 0) is None and kind_of(tree_of(word, 0)) != 0:
            why = f"'{word}' is no decay: it must be a number or depend on t and T alone; "
            yield ("language", "operands", i), why + "allowed: ld, cd, cd(2), rd(10), 1, …"


def _fault_of_rule(name: str) -> str | None:
    try:
        check(parse(rule_named(name)))
    except RuleError as error:
        return (
            f"'{name[:64]}' is neither the text of a rule ({error}) nor a name of the "
            f"catalogue (GET /optimizers). {nearest(name, list(CATALOGUE))}"
        )
    return None
