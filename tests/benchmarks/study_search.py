"""Do the strategies beat chance? At an equal number of trained rules, over ten seeds.

`python -m tests.benchmarks.study_search` lets `reinforcement`, `evolution` and `random` train the
same number of rules each on `digits-mlp`, in the language `nos` of three groups, with the defaults
that a job has. Trained is what took training steps, completed or diverged; what screening refuses
and what behaves as a known rule costs next to nothing and does not count, but the table says how
many rules were judged and sampled for it. A search sees its own seeds alone; its ten best rules,
distinct in what they do (`search.distinct`: no near-copies of better ones), are then trained again
with seeds that no search saw, their learning rates chosen anew. That decides: what is best in a
search is partly luck. A rule that fails with the fresh seeds counts as one that guesses, and so
does each that a search lacks to ten. Wins are by seed, against `random` from the same seed. Two
processes, some ten minutes of two idle cores.
"""

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.comparison import fresh_seed
from search.discovery import RandomStrategy, RuleStrategy
from search.distinct import distinct
from search.evolution import EvolutionStrategy
from search.language import Language
from search.reinforcement import ReinforcementStrategy
from search.settings import Evolution, LanguageSettings, Objective, Reinforcement
from tests.benchmarks.results import record
from workers.evaluation import judge
from workers.protocol import GRID, Evaluation, Protocol, TaskSpec

NAMES = ("random", "evolution", "reinforcement")
LANGUAGE = LanguageSettings(preset="nos", groups=3)
RULES, SEEDS, POPULATION = 160, 10, 16
MOST = 100_000
"""More than a search judges until so many are trained."""

TOP, TRAINED, FRESH = 10, 3, 5
"""Rules that are trained again; seeds of a rule in the search; fresh seeds."""

STEPS, GRID_STEPS = 200, 60
GUESSING = math.log(10)
"""The loss of one who guesses among ten digits."""

METRIC = "validation_loss"

Row = tuple[Proposal, Outcome]


@dataclass(frozen=True)
class Search:
    """What one search came to."""

    strategy: str
    seed: int
    sampled: int
    judged: int
    trained: int
    losses: tuple[float, ...]
    """Of its best rules with fresh seeds, in the search's own order."""

    best: str

    @property
    def mean(self) -> float:
        """The mean over the best rules."""
        return statistics.fmean(self.losses)


def strategy_of(name: str, language: LanguageSettings, rules: int, seed: int) -> RuleStrategy:
    """Return a strategy as a job with its defaults would have it."""
    common = (Objective(), rules, Candidate(rule="g", seed=seed), seed)
    if name == "evolution":
        return EvolutionStrategy(Language(language), *common, Evolution())
    if name == "reinforcement":
        return ReinforcementStrategy(Language(language), *common, Reinforcement())
    return RandomStrategy(Language(language), *common)


def evaluation(rates: tuple[float, ...] = GRID, task: str = "digits-mlp") -> Evaluation:
    """Return how rules are judged in a search, and with fresh seeds."""
    search = Protocol(steps=STEPS, grid_steps=GRID_STEPS, seeds=TRAINED, learning_rates=rates)
    fresh = search.model_copy(update={"seeds": FRESH})
    protocols = {Stage.SEARCH: search, Stage.COMPARISON: fresh}
    return Evaluation(task=TaskSpec(name=task), protocols=protocols)


def tried(strategy: RuleStrategy, how: Evaluation, rules: float = math.inf) -> list[Row]:
    """Search until so many rules are trained, or to the end; return what was judged."""
    rows: list[Row] = []
    while not strategy.finished and trained(rows) < rules:
        proposals = strategy.ask(POPULATION)
        outcomes = judge(how, proposals)
        strategy.tell(outcomes)
        for row in zip(proposals, outcomes, strict=True):
            # of the last population only as many as are missing, so that all train equally many
            if trained(rows) < rules:
                rows.append(row)
    return rows


def trained(rows: Sequence[Row]) -> int:
    """Return how many rules took training steps: what screening refuses takes none."""
    return sum(outcome.cost_steps > 0 for _, outcome in rows)


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Return what completed, best first."""
    complete = [row for row in rows if row[1].state is TrialState.COMPLETE]
    return sorted(complete, key=lambda row: (row[1].metrics[METRIC], row[1].number))


def best_distinct(rows: Sequence[Row], count: int = TOP) -> list[Row]:
    """Return the best that completed of which none is a near-copy of a better one."""
    best = ranked(rows)
    return [best[place] for place in distinct((each.candidate for each, _ in best), count)]


def search(name: str, seed: int, rules: int) -> Search:
    """Search, then train the best rules again."""
    torch.set_num_threads(1)
    strategy, how = strategy_of(name, LANGUAGE, MOST, seed), evaluation()
    rows = tried(strategy, how, rules)
    again = [
        Proposal(
            number=i,
            candidate=proposal.candidate.model_copy(update={"seed": fresh_seed(seed)}),
            stage=Stage.COMPARISON,
        )
        for i, (proposal, _) in enumerate(best_distinct(rows))
    ]
    losses = [min(outcome.metrics.get(METRIC, GUESSING), GUESSING) for outcome in judge(how, again)]
    first = sorted(zip(losses, (each.candidate.rule for each in again), strict=True))
    best = first[0][1] if first else ""
    losses += [GUESSING] * (TOP - len(losses))
    return Search(name, seed, strategy.sampled, len(rows), trained(rows), tuple(losses), best)


def searches(seeds: Sequence[int], rules: int) -> list[Search]:
    """Run every strategy from every seed, two at a time."""
    found = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(search, name, seed, rules) for seed in seeds for name in NAMES]
        for job in as_completed(jobs):
            one = job.result()
            found.append(one)
            print(
                f"  {one.strategy:14} seed {one.seed}: ten best {one.mean:.4f}, "
                f"first {one.losses[0]:.4f}",
                flush=True,
            )
    return sorted(found, key=lambda one: (NAMES.index(one.strategy), one.seed))


def report(found: Sequence[Search], rules: int) -> None:
    """Print the table and keep the figures."""
    chance = {one.seed: one for one in found if one.strategy == "random"}
    print(f"{rules} trained rules each, {len(chance)} seeds; mean and deviation over seeds")
    heads = f"{'ten best':>16}{'wins':>7}{'the first':>16}{'wins':>7}"
    print(f"{'':14}{heads}{'trained':>9}{'judged':>8}{'sampled':>9}")
    for name in NAMES:
        own = [one for one in found if one.strategy == name]
        tens = [one.mean for one in own]
        firsts = [one.losses[0] for one in own]
        wins = sum(one.mean < chance[one.seed].mean for one in own)
        ahead = sum(one.losses[0] < chance[one.seed].losses[0] for one in own)
        print(
            f"{name:14}{_spread(tens):>16}{wins:7}{_spread(firsts):>16}{ahead:7}"
            f"{statistics.fmean(one.trained for one in own):9.0f}"
            f"{statistics.fmean(one.judged for one in own):8.0f}"
            f"{statistics.fmean(one.sampled for one in own):9.0f}"
        )
        best = min(own, key=lambda one: min(one.losses))
        print(f"{'':14} best of all: {min(best.losses):.4f}  {best.best!r}")
        record(
            f"{name}: mean loss of the ten best rules, digits-mlp", statistics.fmean(tens), "nats"
        )
        if name != "random":
            what = f"{name} beats random by its ten best, digits-mlp"
            record(what, wins, "seeds", peer="random", at_least=0.8 * len(own), rules=rules)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"


def main() -> None:
    """Run the whole study."""
    report(searches(range(SEEDS), RULES), RULES)


if __name__ == "__main__":
    main()
