"""What a job's names stand for, and what is refused where a library is missing."""

import sys
from typing import Any

import pytest

from dsl.candidate import ScheduleSpec
from dsl.errors import RuleError
from dsl.outcome import TrialState
from optimizers.library import LIBRARY
from service.assembly import strategy_of
from service.candidates import baseline, faults, tuned
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC, DiscoverJob, TuneJob
from workers.evaluation import judge

LR = {"type": "float", "low": 1e-4, "high": 1, "log": True}
BETA = {"type": "float", "low": 0.5, "high": 0.99}


def tune(optimizer: str, *, schedule: str = "constant", **space: Any) -> TuneJob:
    body = {
        "kind": "tune",
        "name": "a tune job",
        "task": {"name": "digits-mlp"},
        "optimizer": optimizer,
        "schedule": schedule,
        "seed": 3,
        "space": space or {"lr": LR},
        "budget": {"trials": 4},
    }
    job = JOB_SPEC.validate_python(body)
    assert isinstance(job, TuneJob)
    return job


def discover(*baselines: str) -> DiscoverJob:
    body = {
        "kind": "discover",
        "name": "a discover job",
        "task": {"name": "digits-mlp"},
        "budget": {"rules": 4},
        "comparison": {"baselines": baselines},
    }
    job = JOB_SPEC.validate_python(body)
    assert isinstance(job, DiscoverJob)
    return job


def test_a_library_optimizer_is_said_by_where_it_is_imported_from() -> None:
    candidate = tuned(tune("soap", schedule="cosine"))
    assert candidate.rule == "pytorch_optimizer.SOAP"
    assert candidate.imported
    assert (candidate.lr, candidate.seed) == (3e-3, 3)
    assert candidate.schedule == ScheduleSpec(name="cosine")
    assert (candidate.decay, candidate.weight_decay) == ("own", 0.01)
    values = {"weight_decay": 0.5, "beta1": 0.8}
    found = candidate.with_values(values)
    assert (found.weight_decay, found.hyperparameters) == (0.5, {"beta1": 0.8})
    assert (baseline("rprop", 1).decay, baseline("rprop", 1).lr) == ("none", None)
    assert not tuned(tune("adamw")).imported


def test_its_own_numbers_can_be_searched() -> None:
    steps = {"type": "int", "low": 1, "high": 8}
    job = tune("muon", lr=LR, weight_decay=LR, adamw_lr=LR, adamw_beta1=BETA, ns_steps=steps)
    assert list(faults(job)) == []
    assert list(faults(tune("rprop", lr=LR, eta1=BETA))) == []
    choices = {"type": "categorical", "choices": [3, 5.0]}
    assert list(faults(tune("muon", ns_steps=choices))) == []


@pytest.mark.parametrize(
    ("optimizer", "name", "parameter", "why"),
    [
        ("muon", "beta1", BETA, "no parameter of muon 'beta1'; allowed: adamw_beta1, adamw_beta2"),
        ("muon", "batch_size", BETA, "schedule.SETTING, schedule.name, training.batch_size"),
        ("rprop", "weight_decay", LR, "no parameter of rprop 'weight_decay'; allowed: eta1"),
        ("muon", "nesterov", BETA, "no parameter of muon 'nesterov'"),
        ("muon", "ns_steps", BETA, "ns_steps of muon is a whole number: give it type 'int'"),
        ("lbfgs", "max_iter", {"type": "categorical", "choices": [1, 2.5]}, "is a whole number"),
    ],
)
def test_numbers_that_it_does_not_have_are_faults(
    optimizer: str, name: str, parameter: Any, why: str
) -> None:
    ((where, sentence),) = faults(tune(optimizer, lr=LR, **{name: parameter}))
    assert where == ("space", name)
    assert why in sentence


def test_without_its_library_it_is_refused_but_a_kept_job_stays_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    assert not LIBRARY["soap"].available()
    job = tune("soap", lr=LR, beta1=BETA)
    ((where, sentence),) = faults(job)
    assert where == ("optimizer",)
    assert sentence.endswith("not installed: pip install pytorch-optimizer")
    compared = discover("adamw", "muon", "rprop")
    assert [where for where, _ in faults(compared)] == [("comparison", "baselines", 1)]
    assert JOB_SPEC.validate_json(job.model_dump_json()) == job
    assert list(faults(tune("rprop"))) == []
    with pytest.raises(ModuleNotFoundError, match="pip install pytorch-optimizer"):
        baseline("soap", 0)


def ruled(rule: str, **space: Any) -> TuneJob:
    body = tune("adamw").model_dump(mode="json") | {"optimizer": None, "rule": rule, "space": space}
    job = JOB_SPEC.validate_python(body)
    assert isinstance(job, TuneJob)
    return job


def test_a_rule_of_nobodys_is_tuned_with_decoupled_decay_where_it_is_searched() -> None:
    rule = "base ^ (sign(g) * sign(ema(g, beta))) * g"
    candidate = tuned(ruled(rule, beta=BETA))
    assert (candidate.rule, candidate.seed) == (rule, 3)
    assert (candidate.decay, candidate.weight_decay, candidate.lr) == ("none", 0.0, None)
    assert tuned(ruled(rule, weight_decay=LR)).decay == "decoupled"
    assert list(faults(ruled(rule, lr=LR, beta=BETA))) == []
    ((where, why),) = faults(ruled(rule, lr=LR, beta1=BETA))
    assert where == ("space", "beta1")
    assert why == (
        "the rule has no parameter 'beta1'; allowed: base, beta, lr, schedule.SETTING, "
        "schedule.name, training.batch_size, weight_decay, weight_decay.kind"
    )
    with pytest.raises(RuleError, match="column 5"):
        list(faults(ruled("g * (m", lr=LR)))


@pytest.mark.parametrize("space", [{"lr": LR, "weight_decay": LR, "beta": BETA}, {"beta": BETA}])
def test_a_rule_of_nobodys_is_judged(space: dict[str, Any]) -> None:
    job = ruled("sign(g) * abs(ema(g, beta))", **space)
    job = job.model_copy(update={"budget": job.budget.model_copy(update={"steps": 20})})
    (proposal,) = strategy_of(job).ask(1)
    assert proposal.parameters.keys() == space.keys()
    (outcome,) = judge(evaluation_of(job), [proposal])
    assert outcome.state is TrialState.COMPLETE, outcome
    assert outcome.metrics["validation_loss"] < 2.3
    # The learning rate is the space's, or the protocol's grid chose it.
    assert outcome.lr == proposal.parameters.get("lr", outcome.lr)
    assert outcome.lr is not None
