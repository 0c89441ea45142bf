"""Searches of small and large languages whose trials cost nothing, for tests."""

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Outcome, TrialState
from search.discovery import RandomStrategy, RuleStrategy
from search.evolution import EvolutionStrategy
from search.language import Language, Sayable
from search.reinforcement import ReinforcementStrategy
from search.settings import Evolution, LanguageSettings, Objective, Reinforcement
from search.words import Lists

TEMPLATE = Candidate(rule="m", decay="decoupled", weight_decay=0.1, seed=3)
SMALL = Lists(("g", "m", "1"), ("{x}", "sign({x})"), ("{x} * {y}", "{x} + {y}"))
FAST = Reinforcement(hidden=24, learning_rate=0.01, first=0)


def nos(groups: int = 2) -> Language:
    return Language(LanguageSettings(groups=groups))


def small() -> Language:
    return Language(LanguageSettings(groups=1), SMALL)


def reinforcement(
    language: Sayable, budget: int, seed: int = 0, settings: Reinforcement = FAST
) -> ReinforcementStrategy:
    return ReinforcementStrategy(language, Objective(), budget, TEMPLATE, seed, settings)


def at_random(language: Language, budget: int, seed: int = 0) -> RandomStrategy:
    return RandomStrategy(language, Objective(), budget, TEMPLATE, seed)


def judged(proposal: Proposal, loss: float) -> Outcome:
    metrics = {"validation_loss": loss}
    return Outcome(number=proposal.number, state=TrialState.COMPLETE, metrics=metrics)


def taste(proposal: Proposal) -> Outcome:
    """A landscape with structure: signs and sign agreement are good, clipping is bad."""
    rule = proposal.candidate.rule
    if "log" in rule:
        return Outcome(number=proposal.number, state=TrialState.INFEASIBLE, reason="diverged")
    good = 0.5 * rule.count("sign(g)") + 0.5 * rule.count("sign(m)") + rule.count("exp")
    bad = 0.7 * rule.count("clip") + 0.4 * rule.count("drop") + 0.3 * rule.count("w")
    return judged(proposal, 2.3 * 2.718 ** (bad - min(good, 3)))


def search(strategy: RuleStrategy, population: int = 16) -> list[tuple[Proposal, Outcome]]:
    rows: list[tuple[Proposal, Outcome]] = []
    while not strategy.finished:
        proposals = strategy.ask(population)
        outcomes = [taste(proposal) for proposal in proposals]
        strategy.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    return rows


def evolution(language: Language, budget: int, seed: int = 0, **own: object) -> EvolutionStrategy:
    # children that are not trained cost what a trial costs here
    usual = {"population": 24, "tournament": 6, "brood": 1, "strings": 0.0}
    settings = Evolution.model_validate({**usual, **own})
    return EvolutionStrategy(language, Objective(), budget, TEMPLATE, seed, settings)
