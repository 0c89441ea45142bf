from collections.abc import Callable
from functools import partial

import pytest

from dsl.candidate import Candidate
from search.comparison import WithComparison
from search.discovery import RandomStrategy
from search.evolution import EvolutionStrategy
from search.language import Language
from search.reinforcement import ReinforcementStrategy
from search.sampler_settings import (
    CMAES,
    GP,
    NSGA2,
    NSGA3,
    QMC,
    TPE,
    BruteForce,
    Grid,
    RandomPoints,
    SamplerSettings,
)
from search.settings import Evolution, LanguageSettings, Objective, Reinforcement
from search.space import Categorical, Float, Int
from search.strategy import Strategy
from search.tuning import OptunaStrategy
from tests.search import laws

SPACE = {
    "lr": Float(low=1e-5, high=1.0, log=True),
    "beta": Float(low=0.5, high=0.99, step=0.1),
    "k": Int(low=1, high=8, step=2),
    "alpha": Categorical(choices=(1, 2.5, 3)),
}
TEMPLATE = Candidate(rule="g", seed=5)
BASELINES = [("sgd", Candidate(rule="g")), ("momentum", Candidate(rule="trace(g, 0.9)"))]


FINITE = {name: SPACE[name] for name in ("beta", "k", "alpha")}

SAMPLERS: dict[str, SamplerSettings] = {
    "tpe": TPE(startup_trials=5),
    "tpe, multivariate": TPE(startup_trials=5, multivariate=True),
    "gp": GP(startup_trials=18),
    "cmaes": CMAES(generation=5),
    "nsga2": NSGA2(generation=5),
    "nsga3": NSGA3(generation=5),
    "qmc": QMC(),
    "optuna random": RandomPoints(),
    "grid": Grid(points=3),
    "brute_force": BruteForce(),
}


def optuna(settings: SamplerSettings) -> Strategy:
    space = FINITE if isinstance(settings, BruteForce) else SPACE
    return OptunaStrategy(space, settings, Objective(), 30, TEMPLATE, seed=5)


def random() -> Strategy:
    language = Language(LanguageSettings(groups=2))
    return RandomStrategy(language, Objective(), 30, TEMPLATE, seed=5)


def reinforcement() -> Strategy:
    language = Language(LanguageSettings(groups=2))
    settings = Reinforcement(hidden=12, learning_rate=0.05, first=4)
    return ReinforcementStrategy(language, Objective(), 30, TEMPLATE, 5, settings)


def evolution() -> Strategy:
    language = Language(LanguageSettings(groups=2))
    settings = Evolution(
        population=8, tournament=3, crossover=0.5, brood=2, first=4, start=("adam", "w * g")
    )
    return EvolutionStrategy(language, Objective(), 30, TEMPLATE, 5, settings)


def compared(inner: Callable[[], Strategy]) -> Strategy:
    return WithComparison(inner(), Objective(), 3, BASELINES, seed=5)


MAKERS: dict[str, Callable[[], Strategy]] = {
    **{name: partial(optuna, settings) for name, settings in SAMPLERS.items()},
    "random": random,
    "reinforcement": reinforcement,
    "evolution": evolution,
    "random, compared": lambda: compared(random),
    "reinforcement, compared": lambda: compared(reinforcement),
    "evolution, compared": lambda: compared(evolution),
}


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_law(make: Callable[[], Strategy], law: Callable[[laws.Make], None]) -> None:
    law(make)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_is_a_strategy_that_refuses_to_ask_for_nothing(make: Callable[[], Strategy]) -> None:
    strategy = make()
    assert isinstance(strategy, Strategy)
    with pytest.raises(ValueError, match="at least 1"):
        strategy.ask(0)
