"""A store with jobs in several states, written as a dispatcher writes them."""

import math
from dataclasses import dataclass

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Measurement, Outcome, TrialState
from optimizers.catalogue import CATALOGUE
from service.jobs import JOB_SPEC
from service.resources import JobState
from service.store.queue import Claim
from service.store.store import Store

RULES = (
    "exp(sign(g) * sign(m)) * g",
    "g / (sqrt(v) + eps)",
    "sign(g) * ld + clip(m, 0.001)",
    "(1 + sign(g) * sign(m)) * adam",
)
TASK = {"name": "digits-mlp"}
DISCOVER = {
    "kind": "discover",
    "name": "rules for digits",
    "task": TASK,
    "budget": {"rules": 4},
    "comparison": {"top": 2, "seeds": 3, "baselines": ["sgd", "adamw"]},
}
TUNE = {
    "kind": "tune",
    "name": "adamw on digits",
    "task": TASK,
    "optimizer": "adamw",
    "space": {
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    },
    "budget": {"trials": 40, "steps": 100},
}


def outcome(
    number: int, value: float, *, state: TrialState = TrialState.COMPLETE, seeds: int = 1
) -> Outcome:
    """Return what a worker could report: an exponential curve that ends at `value`."""
    if state is TrialState.INFEASIBLE:
        reason = f"the loss was {value} at step {number}: diverged"
        return Outcome(number=number, state=state, reason=reason, cost_steps=10, cost_seconds=0.1)
    steps = 100 if state is TrialState.COMPLETE else 30
    curve = [
        Measurement(step=s, metrics={"validation_loss": value + 2 * math.exp(-s / 20)})
        for s in range(0, steps + 1, 10)
    ]
    metrics = {"validation_loss": value, "validation_accuracy": 1 - value / 3}
    if seeds > 1:
        metrics |= {"test_loss": value * 1.1, "test_accuracy": 1 - value / 2.5}
    return Outcome(
        number=number,
        state=state,
        step=steps,
        lr=0.01,
        metrics=metrics,
        spread=dict.fromkeys(metrics, 0.01 * (seeds > 1)),
        seeds=seeds,
        by_seed={name: (own,) * seeds for name, own in metrics.items()} if seeds > 1 else {},
        curve=tuple(curve),
        cost_steps=steps * seeds,
        cost_seconds=0.5 * seeds,
        slots=2,
    )


@dataclass
class Running:
    """A tune job that is being worked on, by us."""

    store: Store
    job_id: str
    claim: Claim
    asked: int = 0

    def ask(self, count: int) -> list[Proposal]:
        """Write that `count` more points have gone to a worker."""
        proposals = []
        for number in range(self.asked, self.asked + count):
            point = {"lr": 10.0 ** -(1 + number % 4), "weight_decay": 10.0 ** -(2 + number % 3)}
            candidate = Candidate(rule=CATALOGUE["adamw"].rule).with_values(point)
            proposals.append(Proposal(number=number, candidate=candidate, parameters=point))
        self.asked += count
        self.store.record_asked(self.claim, proposals)
        return proposals

    def tell(self, *outcomes: Outcome) -> None:
        """Write what came of some points."""
        self.store.record_told(self.claim, outcomes, None)


def start(store: Store, name: str = "adamw on digits") -> Running:
    """Submit a tune job and claim it."""
    job, _ = store.create_job(JOB_SPEC.validate_python(TUNE | {"name": name}))
    claim = store.claim("tests", 3600)
    assert claim is not None
    assert claim.job_id == job.id
    return Running(store, job.id, claim)


def claimed_discovery(store: Store, name: str) -> tuple[str, Claim]:
    """Submit a discover job and claim it."""
    job, _ = store.create_job(JOB_SPEC.validate_python(DISCOVER | {"name": name}))
    claim = store.claim("tests", 3600)
    assert claim is not None
    assert claim.job_id == job.id
    return job.id, claim


def compare(store: Store, claim: Claim, rules: tuple[str, ...]) -> None:
    """Compare rules with Adam and AdamW; the last of them comes to nothing."""
    known = [CATALOGUE[name] for name in ("adam", "adamw")]
    candidates: list[tuple[str | None, Candidate]] = [
        (None, Candidate(rule=rule)) for rule in (*rules, RULES[0])
    ]
    candidates += [
        (e.name, Candidate(rule=e.rule, decay=e.decay, weight_decay=e.weight_decay)) for e in known
    ]
    asked = [
        Proposal(number=n, candidate=candidate, stage=Stage.COMPARISON, label=label)
        for n, (label, candidate) in enumerate(candidates)
    ]
    store.record_asked(claim, asked)
    last = len(rules)
    told = [outcome(n, 0.1 + n / 100, seeds=3) for n in range(len(asked)) if n != last]
    failed = Outcome(number=last, state=TrialState.INFEASIBLE, reason="diverged with fresh seeds")
    store.record_told(claim, [*told, failed], None)


def finished_discovery(store: Store) -> str:
    """Write a discover job from first to last and return its id."""
    job, _ = store.create_job(JOB_SPEC.validate_python(DISCOVER))
    claim = store.claim("tests", 3600)
    assert claim is not None
    search = [Proposal(number=n, candidate=Candidate(rule=rule)) for n, rule in enumerate(RULES)]
    store.record_asked(claim, search)
    told = [outcome(n, 0.4 - 0.05 * n) for n in range(3)]
    store.record_told(claim, [*told, outcome(3, 1e9, state=TrialState.INFEASIBLE)], b"state")
    store.log(claim, "The search has judged 4 rules.")
    known = [
        (None, RULES[2]),
        (None, RULES[1]),
        *((n, CATALOGUE[n].rule) for n in ("sgd", "adamw")),
    ]
    compared = [
        Proposal(number=4 + n, candidate=Candidate(rule=rule), stage=Stage.COMPARISON, label=label)
        for n, (label, rule) in enumerate(known)
    ]
    store.record_asked(claim, compared)
    values = (0.12, 0.3, 0.25, 0.2)
    store.record_told(claim, [outcome(4 + n, v, seeds=3) for n, v in enumerate(values)], None)
    store.finish(claim, JobState.SUCCEEDED)
    return job.id
