"""Does what a search finds on one task beat a tuned AdamW on tasks that it never saw?

`python -m tests.benchmarks.study_unseen` searches `digits-mlp` by evolution and reinforcement in
the languages `nos`, `sign` and `full`, and lets what it finds climb:

1. The ten best rules of every search, distinct in what they do (`search.distinct`), are trained
   again on `digits-mlp` with seeds that no search saw, at every rate of a grid; the ten best of all
   go on, none a near-copy of a better one or of a baseline.
2. Those are tuned on three tasks for the choice, `digits-mlp` among them; the three with the best
   mean rank go on.
3. Those meet six tasks that nothing before looked at, beside AdamW and other baselines.

In steps 2 and 3 a rule and a baseline get the same budget: two weight decays, with a constant rate
and under the cosine schedule, each at every rate of the grid with two seeds. The validation
loss chooses one point of all; it is run from ten fresh seeds, and then the test split is read, for
the first time. The table says the mean test loss and its standard deviation over seeds, on how many
of the same seeds a rule is better than AdamW, and the p-value of the exact signed-rank test.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch

from dsl.candidate import Candidate, Proposal, ScheduleSpec, Stage
from dsl.outcome import Outcome, TrialState
from optimizers.catalogue import CATALOGUE
from search.comparison import YARDSTICK
from search.distinct import distinct
from search.settings import LanguageSettings
from service.paired import signed_rank
from tests.benchmarks.results import record
from tests.benchmarks.study_search import (
    METRIC,
    MOST,
    best_distinct,
    evaluation,
    strategy_of,
    tried,
)
from workers.evaluation import judge
from workers.protocol import Evaluation, Protocol, TaskSpec

SEARCHED = "digits-mlp"
CHOICE = (SEARCHED, "noisy-quadratic", "random-labels")
UNSEEN = ("char-lm", "digits-conv", "sparse-logistic", "breast-cancer", "diabetes", "wine")
"""The longest first: processes then end together."""

BASELINES = (YARDSTICK, "lion")
LANGUAGES = (("nos", 3), ("sign", 3), ("full", 2))
STRATEGIES = ("evolution", "reinforcement")
SEEDS, RULES = 1, 200
"""Searches of a strategy in a language; rules that each trains."""

TOP, FINAL = 10, 3
"""How many rules climb from a level to the next, and how many to the last."""

TUNING_SEED, FRESH_SEED = 20_000, 30_000
"""The first seeds of what chooses and of what counts; searches use those from 0."""

RATES = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-10, 3))
"""Two rates per decade, from 10^-5 to 10."""

TEST = "test_loss"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Effort:
    """What each optimizer gets on a task."""

    steps: int = 300
    rates: tuple[float, ...] = RATES
    weight_decays: tuple[float, ...] = (0.0, 0.1)
    schedules: tuple[str, ...] = ("constant", "cosine")
    tuning_seeds: int = 2
    seeds: int = 10

    @property
    def points(self) -> int:
        """How many points are tried for an optimizer."""
        return len(self.rates) * len(self.weight_decays) * len(self.schedules)


@dataclass(frozen=True)
class Entrant:
    """An optimizer and where it comes from."""

    name: str
    rule: str


@dataclass(frozen=True)
class Result:
    """What an optimizer comes to on a task."""

    entrant: Entrant
    task: str
    chosen: Candidate | None
    """The best point of all, from fresh seeds; None if nothing trained."""

    outcome: Outcome | None
    """From the fresh seeds; None if nothing trained."""

    steps: int
    seconds: float
    """What tuning and the last runs cost: training steps, core-seconds."""

    @property
    def point(self) -> str:
        """The chosen point in words."""
        if self.chosen is None:
            return ""
        name, decay = self.chosen.schedule.name, self.chosen.weight_decay
        return f"lr {self.chosen.lr:g}, {name}, decay {decay:g}"

    def by_seed(self, metric: str) -> tuple[float, ...]:
        """Return a metric's values; none where nothing trained."""
        return self.outcome.by_seed.get(metric, ()) if self.outcome else ()

    def mean(self, metric: str) -> float:
        """Return a metric's mean, infinite where nothing trained."""
        return statistics.fmean(self.by_seed(metric) or (math.inf,))


def searched(language: tuple[str, int], strategy: str, seed: int, rules: int) -> list[Entrant]:
    """Search, and return the best rules by what the search itself saw of them."""
    torch.set_num_threads(1)
    settings = LanguageSettings.model_validate(
        dict(zip(("preset", "groups"), language, strict=True))
    )
    searcher = strategy_of(strategy, settings, MOST, seed)
    rows = tried(searcher, evaluation(), rules)
    name = f"{language[0]}, {strategy}, seed {seed}"
    print(f"  {name}: {rules} rules trained of {len(rows)} judged", flush=True)
    return [Entrant(name, proposal.candidate.rule) for proposal, _ in best_distinct(rows, TOP)]


def finds(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Return those that are no near-copies of one before them, nor of a baseline."""
    baselines = [Candidate(rule=CATALOGUE[name].rule) for name in BASELINES]
    rules = [Candidate(rule=entrant.rule) for entrant in entrants]
    return [entrants[place] for place in distinct(rules, len(rules), baselines)]


def again(effort: Effort, entrants: Sequence[Entrant]) -> list[float]:
    """Return the losses on the search's task with fresh seeds, each at its best rate."""
    torch.set_num_threads(1)
    candidates = [Candidate(rule=entrant.rule, seed=TUNING_SEED) for entrant in entrants]
    outcomes = _judge(SEARCHED, candidates, effort, effort.tuning_seeds)
    return [outcome.metrics.get(METRIC, math.inf) for outcome in outcomes]


def tuned(effort: Effort, entrant: Entrant, task: str) -> Result:
    """Choose the best point of all by validation, then train from fresh seeds and read the test."""
    torch.set_num_threads(1)
    variants = [
        Candidate(
            rule=entrant.rule,
            decay="decoupled",
            weight_decay=decay,
            schedule=ScheduleSpec(name=schedule),
            seed=TUNING_SEED,
        )
        for decay, schedule in product(effort.weight_decays, effort.schedules)
    ]
    tries = _judge(task, variants, effort, effort.tuning_seeds)
    steps, seconds = sum(o.cost_steps for o in tries), sum(o.cost_seconds for o in tries)
    complete = [(o.metrics[METRIC], o.number) for o in tries if o.state is TrialState.COMPLETE]
    if not complete:
        return Result(entrant, task, None, None, steps, seconds)
    best = min(complete)[1]
    chosen = variants[best].model_copy(update={"lr": tries[best].lr, "seed": FRESH_SEED})
    [outcome] = _judge(task, [chosen], effort, effort.seeds, test=True)
    complete_now = outcome if outcome.state is TrialState.COMPLETE else None
    return Result(
        entrant,
        task,
        chosen,
        complete_now,
        steps + outcome.cost_steps,
        seconds + outcome.cost_seconds,
    )


def _judge(
    task: str, candidates: Sequence[Candidate], effort: Effort, seeds: int, *, test: bool = False
) -> list[Outcome]:
    protocol = Protocol(
        steps=effort.steps,
        grid_steps=None,
        learning_rates=effort.rates,
        seeds=seeds,
        test=test,
    )
    how = Evaluation(task=TaskSpec(name=task), protocols={Stage.UNSEEN: protocol})
    proposals = [
        Proposal(number=i, candidate=each, stage=Stage.UNSEEN) for i, each in enumerate(candidates)
    ]
    return judge(how, proposals)


def chosen_of(results: Sequence[Result], count: int) -> list[Entrant]:
    """Return the entrants with the best mean rank over tasks, by validation with fresh seeds."""
    ranks: dict[Entrant, list[int]] = {}
    for task in {result.task for result in results}:
        own = [result for result in results if result.task == task]
        for result in own:
            better = sum(each.mean(METRIC) < result.mean(METRIC) for each in own)
            ranks.setdefault(result.entrant, []).append(1 + better)
    ordered = sorted(ranks, key=lambda entrant: (statistics.fmean(ranks[entrant]), entrant.rule))
    for entrant in ordered:
        print(
            f"  mean rank {statistics.fmean(ranks[entrant]):4.1f}  {entrant.rule}  ({entrant.name})"
        )
    return ordered[:count]


@dataclass(frozen=True)
class Verdict:
    """How a result stands beside the yardstick's on the same task and seeds."""

    seeds: int
    wins: int
    better: bool
    """By the mean."""

    p_value: float


def verdict(result: Result, yardstick: Result) -> Verdict:
    """Compare test losses seed by seed; who did not train loses."""
    pairs = list(zip(result.by_seed(TEST), yardstick.by_seed(TEST), strict=False))
    differences = [own - yard for own, yard in pairs]
    better = result.mean(TEST) < yardstick.mean(TEST)
    wins = sum(difference < 0 for difference in differences)
    return Verdict(len(pairs), wins, better, signed_rank(differences))


def report(results: Sequence[Result], effort: Effort) -> dict[str, int]:
    """Print the table and keep the figures; return on how many tasks each rule is better."""
    tasks = list(dict.fromkeys(result.task for result in results))
    marks = {result.task: result for result in results if result.entrant.name == YARDSTICK}
    print(
        f"test loss, mean ± standard deviation over {effort.seeds} seeds; each got {effort.points} "
        f"points on every task; on how many seeds it beats {YARDSTICK}, and p"
    )
    better: dict[str, int] = {}
    for entrant in dict.fromkeys(result.entrant for result in results):
        own = [result for result in results if result.entrant == entrant]
        slots = max((result.outcome.slots for result in own if result.outcome), default=0)
        print(f"{entrant.name}: {entrant.rule!r}, {slots} states per weight")
        beside = [verdict(result, marks[result.task]) for result in own]
        for result, stands in zip(own, beside, strict=True):
            print(_line(result, stands, entrant.name == YARDSTICK))
        steps, seconds = sum(each.steps for each in own), sum(each.seconds for each in own)
        print(f"  cost {steps:,} steps, {seconds:.0f} core-seconds")
        if entrant.name != YARDSTICK:
            better[entrant.name] = _sum_up(entrant, own, beside)
    print(f"better than {YARDSTICK}, of {len(tasks)} unseen tasks: {better}")
    return better


def _sum_up(entrant: Entrant, own: Sequence[Result], beside: Sequence[Verdict]) -> int:
    """Print and keep on how many tasks an optimizer is better, and where that is significant."""
    better = sum(each.better for each in beside)
    clear = [each for each in beside if each.p_value < SIGNIFICANT]
    print(
        f"  better than {YARDSTICK} on {better} of {len(own)} tasks, significantly "
        f"(p < {SIGNIFICANT}) on {sum(each.better for each in clear)}; significantly worse on "
        f"{sum(not each.better for each in clear)}"
    )
    told = {
        result.task: [result.mean(TEST), each.p_value]
        for result, each in zip(own, beside, strict=True)
        if result.outcome
    }
    what = f"{entrant.name}: unseen tasks where it beats tuned {YARDSTICK}"
    record(what, better, f"of {len(own)}", peer=YARDSTICK, rule=entrant.rule, by_task=told)
    return better


def _line(result: Result, beside: Verdict, yardstick: bool) -> str:
    if not result.outcome:
        return f"  {result.task:16} nothing trained"
    said = f"  {result.task:16} {result.mean(TEST):.4f} ± {result.outcome.spread[TEST]:.4f}"
    compared = "" if yardstick else f"   {beside.wins:2} of {beside.seeds}, p {beside.p_value:.3f}"
    return f"{said}{compared}   {result.point}"


def climb(
    found: Sequence[Entrant], effort: Effort, spread: Callable[..., Iterator[Any]]
) -> list[Entrant]:
    """Return the rules that are named for the unseen tasks, chosen without looking at those."""
    found = list({entrant.rule: entrant for entrant in reversed(found)}.values())
    parts = [found[i::2] for i in range(2)]
    losses = spread(partial(again, effort), parts)
    told = [
        each
        for part, own in zip(parts, losses, strict=True)
        for each in zip(own, part, strict=True)
    ]
    loss_of = {entrant.rule: loss for loss, entrant in told}
    best = finds(sorted(found, key=lambda entrant: loss_of[entrant.rule]))
    print(f"with fresh seeds on {SEARCHED}, {len(best)} distinct rules of {len(found)}:")
    climbing = best[:TOP]
    for entrant in climbing:
        print(f"  {loss_of[entrant.rule]:.4f}  {entrant.rule}  ({entrant.name})", flush=True)
    pairs = [(entrant, task) for task in CHOICE for entrant in climbing]
    results = list(spread(partial(tuned, effort), *zip(*pairs, strict=True)))
    print(f"tuned on {', '.join(CHOICE)}, ranked by validation:")
    return [
        Entrant(f"rule {place}", entrant.rule)
        for place, entrant in enumerate(chosen_of(results, FINAL), 1)
    ]


def run(
    seeds: Sequence[int],
    rules: int,
    effort: Effort = Effort(),
    tasks: Sequence[str] = UNSEEN,
    languages: Sequence[tuple[str, int]] = LANGUAGES,
    pool: Executor | None = None,
) -> dict[str, int]:
    """Search, climb, compare; return on how many unseen tasks each rule beats the yardstick."""
    spread: Callable[..., Iterator[Any]] = map if pool is None else pool.map
    searches = [*product(languages, STRATEGIES, seeds, (rules,))]
    found = [one for best in spread(searched, *zip(*searches, strict=True)) for one in best]
    final = climb(found, effort, spread)
    entrants = [*(Entrant(name, CATALOGUE[name].rule) for name in BASELINES), *final]
    pairs = [(entrant, task) for task in tasks for entrant in entrants]
    return report(list(spread(partial(tuned, effort), *zip(*pairs, strict=True))), effort)


def main() -> None:
    """Run the whole study."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        run(range(SEEDS), RULES, pool=pool)


if __name__ == "__main__":
    main()
