"""Small jobs, proposals and outcomes for the store's tests."""

from collections.abc import Sequence
from typing import Any

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Measurement, Outcome, TrialState
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from service.resources import Job
from service.store.queue import Claim
from service.store.store import Store

RULES = ("g", "sign(g)", "g * exp(sign(g) * sign(m))", "trace(g, 0.9)")


def tune(name: str = "a tune job", **changes: Any) -> TuneJob | DiscoverJob:
    return JOB_SPEC.validate_python(
        {
            "kind": "tune",
            "name": name,
            "task": {"name": "digits-mlp"},
            "optimizer": "adamw",
            "space": {"lr": {"type": "float", "low": 1e-5, "high": 1, "log": True}},
            "budget": {"trials": 20},
            **changes,
        }
    )


def discover(name: str = "a discover job", **changes: Any) -> TuneJob | DiscoverJob:
    return JOB_SPEC.validate_python(
        {
            "kind": "discover",
            "name": name,
            "task": {"name": "digits-mlp"},
            "budget": {"rules": 50},
            **changes,
        }
    )


def proposal(number: int, rule: str = "g", **changes: Any) -> Proposal:
    values = {"candidate": Candidate(rule=rule, lr=0.1), "parameters": {"lr": 0.1}, **changes}
    return Proposal(number=number, **values)


def complete(number: int, value: float, **changes: Any) -> Outcome:
    metrics = {"validation_loss": value, "validation_accuracy": 1 - value / 10}
    point = Measurement(step=300, metrics={"validation_loss": value})
    values = {"state": TrialState.COMPLETE, "metrics": metrics, "step": 300, "lr": 0.1}
    return Outcome(number=number, **{**values, "curve": (point,), "slots": 1, **changes})


def infeasible(number: int, reason: str = "loss is NaN at step 3") -> Outcome:
    return Outcome(number=number, state=TrialState.INFEASIBLE, reason=reason, step=3)


def running(store: Store, spec: TuneJob | DiscoverJob | None = None) -> tuple[Job, Claim]:
    """Queue a job and claim it (there must be no other in the queue)."""
    job, _ = store.create_job(spec or tune())
    claim = store.claim("a dispatcher", 60)
    assert claim is not None
    assert claim.job_id == job.id
    return job, claim


def judged(store: Store, claim: Claim, values: Sequence[float], **changes: Any) -> None:
    """Ask and tell trials 0, 1, 2 … with these values."""
    rules = [RULES[i % len(RULES)] for i in range(len(values))]
    store.record_asked(claim, [proposal(i, rule, **changes) for i, rule in enumerate(rules)])
    store.record_told(claim, [complete(i, value) for i, value in enumerate(values)], None)


def compared(number: int, rule: str, label: str | None = None) -> Proposal:
    return proposal(number, rule, stage=Stage.COMPARISON, label=label)
