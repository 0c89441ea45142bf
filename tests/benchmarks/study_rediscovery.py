"""Is the sign agreement of PowerSign and AddSign found again? On digits, in a core-minute or so.

`python -m tests.benchmarks.study_rediscovery` searches `digits-mlp` by evolution in the language
`sign`, and in `nos`, until `RULES` rules are trained, from each of ten seeds, and looks at the ten
best rules of each search, distinct in what they do (`search.distinct`): does one of them act on
whether g and its average agree in sign (`dsl.agreement`, a test of behaviour)? The language `sign`
has operands g, m and their signs, and neither PowerSign nor AddSign among its words. The place of
the first such rule is printed, with the rule; a search that has none among its ten best counts as
failed.

Learning rates are the comparison's, three a decade, where a search has one: an update e times as
large is no merit then. With one a decade PowerSign itself has a loss of 0.19 and stands behind
`sign(m)`, with three 0.15; AddSign has 0.22 and 0.12. A longer search finds rules that are better
than gates (after 400 rules none may be among the ten best), so the budget is small. Setting and
budget were chosen on the seeds 100 to 102. Children of evolution may be rules that no string of
the language says: parts of `m`, as `ema({x}, beta1)`, are exchanged like others. A search takes
half a core-minute, both languages some five minutes of two idle cores.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

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

PRESETS, GROUPS = ("sign", "nos"), 3
RULES, SEEDS = 200, 10


@dataclass(frozen=True)
class Found:
    """What one search found."""

    preset: str
    seed: int
    trained: int
    minutes: float
    """Of core time."""

    place: int | None
    """Of the first rule that acts on agreement, from 1; None if none of the best does."""

    rule: str


def look(preset: str, seed: int, rules: int) -> Found:
    """Search, and look at the best rules."""
    torch.set_num_threads(1)
    began = time.process_time()
    language = LanguageSettings.model_validate({"preset": preset, "groups": GROUPS})
    strategy = strategy_of("evolution", language, MOST, seed)
    rows = tried(strategy, evaluation(FINE_GRID), rules)
    minutes = (time.process_time() - began) / 60
    best = [proposal.candidate.rule for proposal, _ in best_distinct(rows)]
    places = [place for place, rule in enumerate(best, 1) if acts_on_agreement(rule)]
    place = places[0] if places else None
    rule = best[(place or 1) - 1] if best else ""
    return Found(preset, seed, trained(rows), minutes, place, rule)


def run(seeds: Sequence[int], rules: int, presets: Sequence[str] = PRESETS) -> list[Found]:
    """Search from every seed in every language, two at a time, and print what was found."""
    found: list[Found] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(look, preset, seed, rules) for preset in presets for seed in seeds]
        for job in as_completed(jobs):
            one = job.result()
            found.append(one)
            place = f"place {one.place}" if one.place else f"none among {TOP}; the best"
            print(
                f"  {one.preset:5} seed {one.seed}: {one.trained} rules in {one.minutes:.1f} "
                f"core-minutes, {place}: {one.rule!r}",
                flush=True,
            )
    return found


def report(found: Sequence[Found], rules: int) -> None:
    """Print how many searches succeeded and keep the figures."""
    for preset in PRESETS:
        own = [one for one in found if one.preset == preset]
        hits = sum(one.place is not None for one in own)
        print(
            f"{preset}: a rule that acts on agreement among the ten best from {hits} of {len(own)}"
        )
        what = f"sign agreement among the ten best, language {preset}"
        wanted = 0.8 * len(own) if preset == "sign" else None
        record(what, hits, "seeds", at_least=wanted, rules=rules)


def main() -> None:
    """Run the whole study."""
    report(run(range(SEEDS), RULES), RULES)


if __name__ == "__main__":
    main()
