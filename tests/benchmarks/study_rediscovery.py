"""Is the sign agreement of PowerSign and AddSign found again? In a core-minute or so a search.

`python -m tests.benchmarks.study_rediscovery` searches in the language `sign`, and in `nos`, until
`RULES` rules are trained, from each of ten seeds, and looks at the ten best rules of each search,
distinct in what they do (`search.distinct`): does one of them act on whether g and its average
agree in sign (`dsl.agreement`, a test of behaviour)? The language `sign` has operands g, m and
their signs, and neither PowerSign nor AddSign among its words. The place of the first such rule is
printed, with the rule; a search that has none among its ten best counts as failed. What counts is
`reinforcement` on `digits-mlp`, which is what a discover job runs that names no strategy; the other
strategies, and a task of badly scaled features, stand beside it.

Learning rates are the comparison's, three a decade, where a search has one: an update e times as
large is no merit then. With one a decade PowerSign itself has a loss of 0.19 and stands behind
`sign(m)`, with three 0.15; AddSign has 0.22 and 0.12. A longer search finds rules that are better
than gates (after 400 rules none may be among the ten best), so the budget is small: it was chosen,
for evolution, on the seeds 100 to 102. Children of evolution may be rules that no string of the
language says: parts of `m`, as `ema({x}, beta1)`, are exchanged like others. All searches take some
twelve minutes of two idle cores.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple

import torch

from dsl.agreement import acts_on_agreement
from search.settings import LanguageSettings
from tests.benchmarks.results import record
from tests.benchmarks.study_search import (
    MOST,
    TOP,
    best_distinct,
    evaluation,
    strategy_of,
    trained,
    tried,
)
from workers.protocol import FINE_GRID

GROUPS = 3
RULES, SEEDS = 200, 10


class Search(NamedTuple):
    """Where is searched, and how."""

    preset: str
    strategy: str
    task: str = "digits-mlp"

    def __str__(self) -> str:
        return f"{self.preset}, {self.strategy}, {self.task}"


MARK = Search("sign", "reinforcement")
SEARCHES = (
    MARK,
    Search("sign", "evolution"),
    Search("sign", "random"),
    Search("sign", "reinforcement", "breast-cancer"),
    Search("nos", "reinforcement"),
    Search("nos", "evolution"),
)


@dataclass(frozen=True)
class Found:
    """What one search found."""

    search: Search
    seed: int
    trained: int
    minutes: float
    """Of core time."""

    place: int | None
    """Of the first rule that acts on agreement, from 1; None if none of the best does."""

    rule: str


def look(search: Search, seed: int, rules: int) -> Found:
    """Search, and look at the best rules."""
    torch.set_num_threads(1)
    began = time.process_time()
    language = LanguageSettings.model_validate({"preset": search.preset, "groups": GROUPS})
    strategy = strategy_of(search.strategy, language, MOST, seed)
    rows = tried(strategy, evaluation(FINE_GRID, search.task), rules)
    minutes = (time.process_time() - began) / 60
    best = [proposal.candidate.rule for proposal, _ in best_distinct(rows)]
    places = [place for place, rule in enumerate(best, 1) if acts_on_agreement(rule)]
    place = places[0] if places else None
    rule = best[(place or 1) - 1] if best else ""
    return Found(search, seed, trained(rows), minutes, place, rule)


def run(seeds: Sequence[int], rules: int, searches: Sequence[Search] = SEARCHES) -> list[Found]:
    """Search from every seed in every way, two at a time, and print what was found."""
    found: list[Found] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(look, search, seed, rules) for search in searches for seed in seeds]
        for job in as_completed(jobs):
            one = job.result()
            found.append(one)
            place = f"place {one.place}" if one.place else f"none among {TOP}; the best"
            print(
                f"  {one.search} seed {one.seed}: {one.trained} rules in {one.minutes:.1f} "
                f"core-minutes, {place}: {one.rule!r}",
                flush=True,
            )
    return found


def report(found: Sequence[Found], rules: int) -> None:
    """Print how many searches succeeded and keep the figures."""
    ran = {one.search for one in found}
    for search in (each for each in SEARCHES if each in ran):
        own = [one for one in found if one.search == search]
        hits = sum(one.place is not None for one in own)
        minutes = statistics.median(one.minutes for one in own)
        print(
            f"{search}: a rule that acts on agreement among the ten best from {hits} of {len(own)} "
            f"seeds, in {minutes:.1f} core-minutes (median)"
        )
        what = f"sign agreement among the ten best: {search}"
        wanted = 0.8 * len(own) if search == MARK else None
        record(what, hits, "seeds", at_least=wanted, rules=rules, core_minutes=minutes)


def main() -> None:
    """Run the whole study."""
    report(run(range(SEEDS), RULES), RULES)


if __name__ == "__main__":
    main()
