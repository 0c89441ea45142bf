"""Where a search's best rule stands among all rules there are: a language enumerated to its end.

`python -m tests.benchmarks.study_enumeration` writes out every string of the language `nos` with
one group, leaves one rule of each behaviour, and judges them all on `noisy-quadratic` as a search
does: screening, then every learning rate of the grid, each to its end. So the truth is known, and
a search's best has a rank in it. Then `random`, `evolution` and `reinforcement` search the same
language until they have trained 500 rules each, from ten seeds. What a rule comes to is looked up
where it was enumerated (it depends on the rule and its training seed alone). Children of evolution
that no string of the language says are refused; where it is `free` they are trained like the
others, and the best is ranked by its loss.

Of the 17² · 12² · 5 = 208,080 ways to fill the five places the language's masks leave out those
with twice the same operand and those without the gradient. The enumeration takes some five minutes
of two cores and is kept under `.benchmarks/`, by a name that changes with the language, the
protocol, torch and the source of the rooms that judge.
"""

import bisect
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.discovery import RuleStrategy, rule_of
from search.evolution import EvolutionStrategy
from search.identity import named
from search.language import Language
from search.settings import Evolution, LanguageSettings, Objective
from tests.benchmarks.results import FOLDER, ROOT, record
from tests.benchmarks.study_search import POPULATION, strategy_of
from workers.evaluation import judge
from workers.protocol import Evaluation, Protocol, TaskSpec
from workers.replay import platform

LANGUAGE = LanguageSettings(preset="nos", groups=1)
TASK, METRIC, STEPS, BATCH = "noisy-quadratic", "validation_loss", 100, 16
NAMES = ("random", "evolution", "evolution, free", "reinforcement")
TRAINED, SEEDS = 500, 10
BUDGET = 1_000_000
"""More rules than a search comes to before it has trained enough of them."""

STRINGS, RULES = 4096, 512
"""How many a process takes at once."""


@dataclass(frozen=True)
class Truth:
    """What every rule of a language comes to."""

    strings: int
    forms: int
    """Distinct canonical forms, those that no check refuses."""

    losses: dict[str, float]
    """By behaviour (`search.identity`), of the rules that trained to the end."""

    diverged: frozenset[str]
    """Behaviours that were trained and diverged at every rate."""

    refused: frozenset[str]
    """Behaviours that screening refused untrained."""

    best: tuple[tuple[float, str], ...]
    """The first rules, with their losses."""

    @cached_property
    def ranked(self) -> list[float]:
        """All losses, ascending."""
        return sorted(self.losses.values())

    def rank(self, loss: float) -> int:
        """Return the place of a loss among all rules, from 1: one more than are truly better."""
        return 1 + bisect.bisect_left(self.ranked, loss)

    def rule(self, text: str) -> str | None:
        """Return the canonical text of a rule, None if no string of the language says it."""
        form = rule_of(text)
        if form is None:
            return None
        name = named(Candidate(rule=form), canonical=True).hex()
        known = name in self.losses or name in self.diverged or name in self.refused
        return form if known else None

    def outcome(self, proposal: Proposal) -> Outcome | None:
        """Return what is known of a proposal, None if its rule was not enumerated."""
        name, number = proposal.behaviour or "", proposal.number
        if name in self.losses:
            metrics = {METRIC: self.losses[name]}
            return Outcome(
                number=number, state=TrialState.COMPLETE, step=STEPS, metrics=metrics, cost_steps=1
            )
        if name in self.diverged or name in self.refused:
            trained = int(name in self.diverged)
            return Outcome(
                number=number, state=TrialState.INFEASIBLE, reason="enumerated", cost_steps=trained
            )
        return None


@dataclass(frozen=True)
class Standing:
    """Where a search's best rule stands."""

    strategy: str
    seed: int
    rank: int
    loss: float
    judged: int
    sampled: int
    outside: int
    """Trained rules that no string of the language says."""

    rule: str


def evaluation() -> Evaluation:
    """Return how rules are judged: every rate of the grid to its end, one seed."""
    protocol = Protocol(steps=STEPS, grid_steps=None, batch_size=BATCH)
    return Evaluation(task=TaskSpec(name=TASK), protocols={Stage.SEARCH: protocol})


def enumerated(settings: LanguageSettings, pool: Executor | None = None) -> Truth:
    """Judge every rule of a language, in the pool's processes if one is given."""
    spread: Callable[..., Iterator[Any]] = map if pool is None else pool.map
    language, forms = Language(settings), dict[str, str]()
    parts = list(_parts(list(language.strings()), STRINGS))
    for i, part in enumerate(spread(partial(_forms, settings), parts)):
        forms |= {form: name for form, name in part.items() if form not in forms}
        _tell("strings written out", i + 1, len(parts))
    rules = dict[str, str]()
    for form, name in forms.items():
        rules.setdefault(name, form)
    losses, ends = dict[str, float](), {True: set[str](), False: set[str]()}
    parts = list(_parts(list(rules.items()), RULES))
    for i, part in enumerate(spread(_judged, parts)):
        for name, loss, trained in part:
            if loss is None:
                ends[trained].add(name)
            else:
                losses[name] = loss
        _tell("rules judged", i + 1, len(parts))
    best = sorted((loss, rules[name]) for name, loss in losses.items())[:10]
    diverged, refused = frozenset(ends[True]), frozenset(ends[False])
    return Truth(language.size, len(forms), losses, diverged, refused, tuple(best))


def _forms(settings: LanguageSettings, strings: Sequence[tuple[int, ...]]) -> dict[str, str]:
    """Return the canonical forms that strings say, each with the name of its behaviour."""
    torch.set_num_threads(1)
    language = Language(settings)
    forms = dict.fromkeys(rule_of(language.decode(tokens)) for tokens in strings)
    return {
        form: named(Candidate(rule=form), canonical=True).hex()
        for form in forms
        if form is not None
    }


def _judged(rules: Sequence[tuple[str, str]]) -> list[tuple[str, float | None, bool]]:
    """Return for (behaviour, rule) the behaviour, the loss if there is one, whether it trained."""
    torch.set_num_threads(1)
    proposals = [
        Proposal(number=i, candidate=Candidate(rule=rule)) for i, (_, rule) in enumerate(rules)
    ]
    outcomes = judge(evaluation(), proposals)
    return [
        (name, outcome.metrics.get(METRIC), outcome.cost_steps > 0)
        for (name, _), outcome in zip(rules, outcomes, strict=True)
    ]


def _parts(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _tell(what: str, done: int, of: int) -> None:
    if done * 10 // of > (done - 1) * 10 // of:
        print(f"  {what}: {done / of:.0%}", flush=True)


def place(settings: LanguageSettings) -> Path:
    """Return where the truth is kept, by all that it depends on."""
    said = [evaluation().model_dump_json(), repr(settings.lists()), str(settings.groups), TASK]
    sources = [path for room in ("dsl", "workers") for path in sorted((ROOT / room).rglob("*.py"))]
    digest = hashlib.sha256("\n".join([*said, platform("cpu")]).encode())
    for path in sources:
        digest.update(path.read_bytes())
    return FOLDER / f"enumeration-{digest.hexdigest()[:16]}.json"


def kept(settings: LanguageSettings, pool: Executor) -> Truth:
    """Return the truth from its file, or enumerate it and keep it."""
    path = place(settings)
    if path.exists():
        print(f"enumerated before: {path.relative_to(ROOT)}")
        held = json.loads(path.read_text())
        return Truth(
            **held
            | {name: frozenset(held[name]) for name in ("diverged", "refused")}
            | {"best": tuple((loss, rule) for loss, rule in held["best"])}
        )
    truth = enumerated(settings, pool)
    path.parent.mkdir(parents=True, exist_ok=True)
    sets = {"diverged": sorted(truth.diverged), "refused": sorted(truth.refused)}
    path.write_text(json.dumps(asdict(truth) | sets))
    return truth


def stand(name: str, seed: int, truth: Truth, trained: int, settings: LanguageSettings) -> Standing:
    """Search until so many rules have been trained, and rank the best of them."""
    torch.set_num_threads(1)
    strategy, how = _strategy(name, seed, truth, settings), evaluation()
    found: list[tuple[float, str]] = []
    judged = count = outside = 0
    while count < trained and not strategy.finished:
        proposals = strategy.ask(POPULATION)
        known = [truth.outcome(proposal) for proposal in proposals]
        outcomes = [
            outcome or judge(how, [_same_seed(proposal)])[0]
            for outcome, proposal in zip(known, proposals, strict=True)
        ]
        strategy.tell(outcomes)
        for before, outcome, proposal in zip(known, outcomes, proposals, strict=True):
            judged += 1
            if count == trained or not outcome.cost_steps:
                continue
            count += 1
            outside += before is None
            if METRIC in outcome.metrics:
                found.append((outcome.metrics[METRIC], proposal.candidate.rule))
    loss, rule = min(found)
    return Standing(name, seed, truth.rank(loss), loss, judged, strategy.sampled, outside, rule)


def _strategy(name: str, seed: int, truth: Truth, settings: LanguageSettings) -> RuleStrategy:
    if name == "evolution":
        template = Candidate(rule="g", seed=seed)
        common = (Language(settings), Objective(), BUDGET, template, seed, Evolution())
        return EvolutionStrategy(*common, truth.rule)
    return strategy_of(name.partition(",")[0], settings, BUDGET, seed)


def _same_seed(proposal: Proposal) -> Proposal:
    """Return a proposal with the training seed of the enumeration."""
    candidate = proposal.candidate.model_copy(update={"seed": 0})
    return proposal.model_copy(update={"candidate": candidate})


def report(truth: Truth, standings: Sequence[Standing], trained: int) -> None:
    """Print both tables and keep the figures."""
    count = len(truth.losses)
    print(
        f"{truth.strings:,} strings, {truth.forms:,} canonical forms, "
        f"{count + len(truth.diverged) + len(truth.refused):,} behaviours: "
        f"{len(truth.refused):,} refused untrained, {len(truth.diverged):,} diverged, "
        f"{count:,} trained; losses {truth.ranked[0]:.4g} (best), "
        f"{truth.ranked[count // 100]:.4g} (1 %), {truth.ranked[count // 2]:.4g} (median)"
    )
    for loss, rule in truth.best[:5]:
        print(f"  {loss:.5f}  {rule}")
    print(f"the best of {trained} trained rules, its rank among {count:,}, by seed:")
    for name in NAMES:
        own = sorted(one.rank for one in standings if one.strategy == name)
        if not own:
            continue
        middle = statistics.median(own)
        runs = [one for one in standings if one.strategy == name]
        losses = sorted(one.loss for one in runs)
        print(
            f"  {name:15} median {middle:g} (upper {100 * middle / count:.3f} %), "
            f"{own[0]} to {own[-1]}: {', '.join(map(str, own))}; losses {losses[0]:.5f} to "
            f"{losses[-1]:.5f}, median {statistics.median(losses):.5f}; "
            f"judged {statistics.fmean(one.judged for one in runs):.0f}, "
            f"sampled {statistics.fmean(one.sampled for one in runs):.0f}, "
            f"outside the language {statistics.fmean(one.outside for one in runs):.0f}"
        )
        record(
            f"{name}: median rank of the best of {trained} trained rules, {TASK}",
            middle,
            "of all rules",
            rules=count,
            ranks=own,
            losses=losses,
        )


def run(
    seeds: Sequence[int],
    trained: int,
    settings: LanguageSettings = LANGUAGE,
    pool: Executor | None = None,
) -> list[Standing]:
    """Search from every seed with every strategy; print where each search's best stands."""
    if pool is None:
        truth = enumerated(settings)
        found = [stand(name, seed, truth, trained, settings) for seed in seeds for name in NAMES]
    else:
        truth = kept(settings, pool)
        jobs = [
            pool.submit(stand, name, seed, truth, trained, settings)
            for seed in seeds
            for name in NAMES
        ]
        found = [job.result() for job in as_completed(jobs)]
    report(truth, found, trained)
    return found


def main() -> None:
    """Run the whole study."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        run(range(SEEDS), TRAINED, pool=pool)


if __name__ == "__main__":
    main()
