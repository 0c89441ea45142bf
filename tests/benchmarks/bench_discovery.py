"""Rules judged per second, and what screening rejects, at what cost, and loses.

Everything runs under one protocol on digits-mlp: 7 learning rates x 2 seeds x 100 steps. Random
rules are sampled as a discover job does. To know what screening loses, the rejected ones are
trained as well: those that reach a lower validation loss than SGD under the same protocol should
not have been rejected. The rates come from real jobs of the service, with two workers of one
thread each, once those have started, and from one thread alone. On a busy machine the rate by CPU
time, of all the service's processes, says what two free cores would do.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import psutil
import torch

from dsl.candidate import Candidate, Proposal, Stage
from dsl.compile import compile_rule
from dsl.outcome import Outcome
from dsl.validate import program_of
from search.controller import uniform
from search.discovery import RandomStrategy, rule_of
from search.identity import named
from search.language import Language
from search.settings import LanguageSettings, Objective
from service.dispatcher import Dispatcher
from service.jobs import JOB_SPEC
from service.resources import TERMINAL, JobState
from service.settings import Settings
from service.store.query import Query
from service.store.store import Store
from tests.benchmarks.results import record
from workers import evaluation
from workers.evaluation import judge
from workers.protocol import GRID, Evaluation, Protocol, TaskSpec
from workers.screening import fault

SAMPLED, GROUPS, SEED = 1000, 2, 17
POPULATION = 32
ALONE = 640
"""Rules that one thread judges alone."""

RULES = 1000
"""Rules that a job of the service judges."""

STEPS, SEEDS = 100, 2
TASK = "digits-mlp"
PROTOCOL = Protocol(steps=STEPS, grid_steps=None, seeds=SEEDS)
EVALUATION = Evaluation(task=TaskSpec(name=TASK), protocols={Stage.SEARCH: PROTOCOL})


@dataclass
class Sample:
    """What random strings of the language say."""

    sampled: int = 0
    refused: int = 0
    """By static checks."""

    canonical: int = 0
    """Known already by their canonical form."""

    behaving: int = 0
    """Known already by their fingerprint, though by no canonical form."""

    rules: list[str] = field(default_factory=list)


def sample(count: int) -> Sample:
    """Sample strings of the language evenly and sort them."""
    language = Language(LanguageSettings(groups=GROUPS))
    generator = torch.Generator().manual_seed(SEED)
    found, texts, names = Sample(count), set(), set()
    for tokens in uniform(language, count, generator).tokens.tolist():
        rule = rule_of(language.decode(tokens))
        if rule is None:
            found.refused += 1
        elif rule in texts:
            found.canonical += 1
        elif (name := named(Candidate(rule=rule), canonical=True)) in names:
            found.behaving += 1
        else:
            texts.add(rule)
            names.add(name)
            found.rules.append(rule)
    return found


def proposals(rules: Sequence[str]) -> list[Proposal]:
    """Number rules as candidates whose learning rate the grid chooses."""
    return [Proposal(number=k, candidate=Candidate(rule=rule)) for k, rule in enumerate(rules)]


def train(rules: Sequence[str]) -> tuple[list[float], float]:
    """Train all rules, whatever screening says; return validation losses and CPU seconds."""
    losses: list[float] = []
    began = time.process_time()
    with patch.object(evaluation, "fault", lambda *arguments, **settings: None):
        for start in range(0, len(rules), POPULATION):
            for outcome in judge(EVALUATION, proposals(rules[start : start + POPULATION])):
                losses.append(outcome.metrics.get("validation_loss", float("inf")))
    return losses, time.process_time() - began


def screening() -> None:
    """Print what screening does to random rules, what it costs, and what it loses."""
    found = sample(SAMPLED)
    rules = found.rules
    judge(EVALUATION, proposals(["g"]))  # reads the data
    (sgd,), _ = train(["g"])
    fault(Candidate(rule="drop(g, 0.1) + noise(0.1)"))
    candidates = [each.candidate for each in proposals(rules)]
    program_of.cache_clear()
    began = time.process_time()
    reasons = [fault(candidate, GRID) for candidate in candidates]
    cost = time.process_time() - began
    program_of.cache_clear()
    compile_rule.cache_clear()
    losses, whole = train(rules)
    good = [loss < sgd for loss in losses]
    lost = sum(
        is_good and reason is not None for is_good, reason in zip(good, reasons, strict=True)
    )
    kinds = Counter(kind(reason) for reason in reasons if reason is not None)
    rejected = sum(kinds.values())
    share = (found.refused + rejected) / (found.refused + len(rules))
    print(
        f"{found.sampled} random rules of {GROUPS} groups: {found.refused} refused by static "
        f"checks, {found.canonical} merged by canonical form, {found.behaving} by fingerprint, "
        f"{rejected} rejected by the probe ("
        + ", ".join(f"{kind} {many}" for kind, many in kinds.most_common())
        + f"), {len(rules) - rejected} left to train"
    )
    print(
        f"of the {sum(good)} that beat SGD's {sgd:.4f}, {lost} were rejected; of the "
        f"{sum(not each for each in good)} others {rejected - lost}; the probe took "
        f"{1e3 * cost / len(rules):.2f} ms a rule, training {1e3 * whole / len(rules):.1f} ms",
        flush=True,
    )
    record("distinct random rules that screening rejects", 100 * share, "%", at_least=80)
    record("of those that pass the static checks", 100 * rejected / len(rules), "%")
    record(
        "cost of the probe",
        100 * cost / whole,
        "%",
        peer="training the same rules",
        at_most=1.0,
    )
    record("rules that beat SGD and were rejected", 100 * lost / max(1, sum(good)), "%", at_most=1)


def kind(reason: str) -> str:
    """Return the name of a rejection."""
    for words in ("not finite", "zero", "the same", "never", "descend"):
        if words in reason:
            return {"never": "of one sign", "descend": "not descending"}.get(words, words)
    return "faulty"


def alone() -> None:
    """Print how many rules one thread samples, judges and learns from in a second."""
    strategy = RandomStrategy(
        Language(LanguageSettings(groups=GROUPS)), Objective(), ALONE, Candidate(rule="g"), SEED
    )
    judged: list[Outcome] = []
    began, cpu = time.perf_counter(), time.process_time()
    while not strategy.finished:
        outcomes = judge(EVALUATION, strategy.ask(POPULATION))
        strategy.tell(outcomes)
        judged += outcomes
    rate = len(judged) / (time.perf_counter() - began)
    by_cpu = len(judged) / (time.process_time() - cpu)
    trained = sum(outcome.cost_steps > 0 for outcome in judged)
    print(
        f"one thread: {len(judged)} rules, {trained} of them trained: {rate:.0f} rules/s, "
        f"{by_cpu:.0f} in a second of CPU time"
    )
    record("rules judged per second, one thread", rate, "1/s", by_cpu=by_cpu, trained=trained)


@dataclass(frozen=True)
class Moment:
    """How far a job is, when, and the CPU time its processes had taken."""

    judged: int
    seconds: float
    cpu: float


def moment(judged: int) -> Moment:
    """Return now; this process's descendants are the service."""
    cpu = 0.0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.Error):  # it ended meanwhile
            times = process.cpu_times()
            cpu += times.user + times.system
    return Moment(judged, time.perf_counter(), cpu)


def service(store: Store, strategy: str, rules: int) -> None:
    """Run a discover job and print how fast its search was, once its workers had started."""
    body = {
        "kind": "discover",
        "name": "rules per second",
        "task": {"name": TASK},
        "seed": SEED,
        "strategy": {"name": strategy},
        "language": {"preset": "nos", "groups": GROUPS},
        "budget": {"rules": rules},
        "protocol": {"grid_steps": None, "steps": STEPS, "seeds": SEEDS},
        "comparison": {"top": 0, "baselines": []},
    }
    job = store.create_job(JOB_SPEC.validate_python(body))[0]
    seen: list[Moment] = []
    while job.state not in TERMINAL:
        time.sleep(0.1)
        job = store.job(job.id)
        if job.judged and (not seen or job.judged > seen[-1].judged):
            seen.append(moment(job.judged))
    if job.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"the job ended as {job.state}: {job.error}")
    first, last = seen[0], seen[-1]
    judged = last.judged - first.judged
    trained = store.trials(job.id, Query(page_size=1, filter="step > 0")).total
    rate = judged / (last.seconds - first.seconds)
    by_cpu = 2 * judged / (last.cpu - first.cpu)
    print(
        f"service, {strategy}: {job.judged} rules, {trained} of them trained: {rate:.0f} rules/s "
        f"once started, {by_cpu:.0f} in two seconds of CPU time",
        flush=True,
    )
    what = f"rules judged per second, {strategy} job, two workers"
    record(what, rate, "1/s", at_least=100 if strategy == "random" else None, trained=trained)
    record(f"{what}, of CPU time", by_cpu, "1/(2 s)", trained=trained)


def main() -> None:
    """Print all of it."""
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    screening()
    alone()
    torch.set_num_threads(own)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url="", cpus=2)
        store = Store(settings.store_url())
        store.migrate()
        dispatcher = Dispatcher(store, settings)
        dispatcher.start()
        service(store, "random", RULES)
        service(store, "reinforcement", RULES // 2)
        dispatcher.stop()
        store.close()


if __name__ == "__main__":
    main()
