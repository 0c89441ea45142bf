"""Is the sign agreement of PowerSign and AddSign found again? On digits, in a minute of core time.

`python -m tests.benchmarks.study_rediscovery` searches `digits-mlp` by reinforcement in the
language `sign`, and in `nos`, for `SECONDS` of core time from each of ten seeds, and looks at the
ten best rules of each search: does one of them act on whether g and its average agree in sign
(`dsl.agreement`, a test of behaviour)? The language `sign` has operands g, m and their signs, and
neither PowerSign nor AddSign among its words. The place of the first such rule is printed, with
the rule; a search that has none among its ten best counts as failed.
"""

from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from dsl.agreement import acts_on_agreement
from search.settings import LanguageSettings
from tests.benchmarks.results import record
from tests.benchmarks.study_search import TOP, evaluation, ranked, strategy_of, trained, tried

PRESETS, GROUPS = ("sign", "nos"), 3
SECONDS, SEEDS = 60.0, 10
RULES = 100_000
"""More than a search comes to in its time."""


@dataclass(frozen=True)
class Found:
    """What one search found."""

    preset: str
    seed: int
    trained: int
    place: int | None
    """Of the first rule that acts on agreement, from 1; None if none of the best does."""

    rule: str


def look(preset: str, seed: int, seconds: float) -> Found:
    """Search, and look at the best rules."""
    torch.set_num_threads(1)
    language = LanguageSettings.model_validate({"preset": preset, "groups": GROUPS})
    strategy = strategy_of("reinforcement", language, RULES, seed)
    rows = tried(strategy, evaluation(), seconds=seconds)
    best = [proposal.candidate.rule for proposal, _ in ranked(rows)[:TOP]]
    places = [place for place, rule in enumerate(best, 1) if acts_on_agreement(rule)]
    place = places[0] if places else None
    return Found(preset, seed, trained(rows), place, best[(place or 1) - 1] if best else "")


def run(seeds: int, seconds: float) -> None:
    """Search from every seed in every language, two at a time, and print what was found."""
    found: list[Found] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(look, p, seed, seconds) for p in PRESETS for seed in range(seeds)]
        for job in as_completed(jobs):
            one = job.result()
            found.append(one)
            place = f"place {one.place}" if one.place else f"none among {TOP}; the best"
            print(
                f"  {one.preset:5} seed {one.seed}: {one.trained} rules, {place}: {one.rule!r}",
                flush=True,
            )
    for preset in PRESETS:
        own = [one for one in found if one.preset == preset]
        hits = sum(one.place is not None for one in own)
        print(f"{preset}: a rule that acts on agreement among the ten best from {hits} of {seeds}")
        what = f"sign agreement among the ten best, language {preset}"
        wanted = 0.8 * seeds if preset == "sign" else None
        record(what, hits, "seeds", at_least=wanted, seconds=seconds)


def main() -> None:
    """Run the whole study."""
    run(SEEDS, SECONDS)


if __name__ == "__main__":
    main()
