from collections.abc import Callable

import pytest

from dsl.candidate import Candidate
from search.comparison import WithComparison
from search.discovery import RandomStrategy, ReinforcementStrategy
from search.language import Language
from search.settings import LanguageSettings, Objective, Reinforcement, SamplerSettings
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


def optuna(sampler: str) -> Strategy:
    settings = SamplerSettings(name=sampler, startup_trials=5)  # type: ignore[arg-type]
    return OptunaStrategy(SPACE, settings, Objective(), 30, TEMPLATE, seed=5)


def random() -> Strategy:
    language = Language(LanguageSettings(groups=2))
    return RandomStrategy(language, Objective(), 30, TEMPLATE, seed=5)


def reinforcement() -> Strategy:
    language = Language(LanguageSettings(groups=2))
    settings = Reinforcement(hidden=12, learning_rate=0.05)
    return ReinforcementStrategy(language, Objective(), 30, TEMPLATE, 5, settings)


def compared(inner: Callable[[], Strategy]) -> Strategy:
    return WithComparison(inner(), Objective(), 3, BASELINES, seed=5)


MAKERS: dict[str, Callable[[], Strategy]] = {
    "tpe": lambda: optuna("tpe"),
    "optuna random": lambda: optuna("random"),
    "random": random,
    "reinforcement": reinforcement,
    "random, compared": lambda: compared(random),
    "reinforcement, compared": lambda: compared(reinforcement),
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
