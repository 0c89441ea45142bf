"""What one job found out is told to the next one that asks the same under the same conditions."""

from typing import Any

import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Origin, Outcome, TrialState
from search.comparison import fresh_seed
from search.identity import named
from service.resources import JobState
from service.store import known
from service.store.store import Store
from tests.service.store.samples import complete, discover, infeasible, proposal, running, tune

RULES = ("g", "sign(g)", "m")


def proposals(stage: Stage = Stage.SEARCH, seed: int = 0) -> list[Proposal]:
    found = []
    for number, rule in enumerate(RULES):
        candidate = Candidate(rule=rule, seed=seed)
        name = named(candidate).hex()
        found.append(Proposal(number=number, candidate=candidate, stage=stage, behaviour=name))
    return found


def ended(store: Store, stage: Stage = Stage.SEARCH, **changes: Any) -> str:
    """Run a job whose trial 0 is complete, 1 infeasible, and 2 lost for good."""
    job, claim = running(store, discover("the first", **changes))
    store.record_asked(claim, proposals(stage))
    store.record_told(claim, [complete(0, 0.25, cost_steps=620), infeasible(1)], None)
    for _ in range(3):
        store.record_lost(claim, [2], "its worker died")
    assert store.trial(job.id, 2).state is TrialState.FAILED
    store.finish(claim, JobState.SUCCEEDED)
    return job.id


def known_to(store: Store, **changes: Any) -> dict[Stage, dict[str, Outcome]]:
    job, claim = running(store, discover("the second", **changes))
    found = store.history(job.id).known
    store.finish(claim, JobState.CANCELLED)
    return {stage: dict(outcomes) for stage, outcomes in found.items()}


def test_told_outcomes_are_known_and_failed_ones_never(store: Store) -> None:
    job_id = ended(store)
    found = known_to(store)
    g, sign, _ = (proposal.behaviour for proposal in proposals())
    assert found[Stage.COMPARISON] == {}
    assert set(found[Stage.SEARCH]) == {g, sign}
    assert found[Stage.SEARCH][g or ""] == complete(
        0, 0.25, cost_steps=620, curve=(), origin=Origin(job_id=job_id, number=0)
    )
    assert found[Stage.SEARCH][sign or ""].state is TrialState.INFEASIBLE


@pytest.mark.parametrize(
    "changes",
    [
        {"task": {"name": "wine"}},
        {"seed": 1},
        {"protocol": {"steps": 201}},
        {"protocol": {"grid_steps": None}},
        {"protocol": {"seeds": 2}},
        {"protocol": {"learning_rates": [0.1]}},
        {"objective": {"metric": "validation_accuracy", "direction": "maximize"}},
    ],
)
def test_other_conditions_are_other_questions(store: Store, changes: dict[str, Any]) -> None:
    ended(store)
    assert known_to(store, **changes)[Stage.SEARCH] == {}


def test_what_the_conditions_leave_out_does_not_matter(store: Store) -> None:
    ended(store)
    changes = {"budget": {"rules": 7}, "strategy": {"name": "random"}, "population": 3}
    assert len(known_to(store, **changes)[Stage.SEARCH]) == 2


def test_a_comparison_is_known_to_comparisons(store: Store) -> None:
    ended(store, Stage.COMPARISON)
    found = known_to(store)
    assert (len(found[Stage.SEARCH]), len(found[Stage.COMPARISON])) == (0, 2)
    assert known_to(store, comparison={"seeds": 4})[Stage.COMPARISON] == {}
    # what one job compares with, another searches with
    protocol = {"seeds": 5, "steps": 300, "grid_steps": None}
    assert known_to(store, seed=fresh_seed(0), protocol=protocol)[Stage.SEARCH] == {}


def test_an_outcome_that_is_taken_over_keeps_its_origin_and_curve_and_is_found_there(
    store: Store,
) -> None:
    first = ended(store)
    job, claim = running(store, discover("the second"))
    asked = proposals()[:1]
    taken = store.history(job.id).known[Stage.SEARCH][asked[0].behaviour or ""]
    store.record_asked(claim, asked)
    store.record_told(claim, [taken.model_copy(update={"cost_steps": 0})], None)
    trial = store.trial(job.id, 0)
    assert (trial.state, trial.value, trial.cost_steps) == (TrialState.COMPLETE, 0.25, 0)
    assert trial.origin == Origin(job_id=first, number=0)
    assert store.curves(job.id)[0].points == store.curves(first)[0].points != ()
    assert store.job(job.id).judged == 1
    assert store.standings().items[0].job_id == first
    store.finish(claim, JobState.SUCCEEDED)
    assert {o.origin.job_id for o in known_to(store)[Stage.SEARCH].values() if o.origin} == {first}
    store.delete_job(first)
    assert known_to(store)[Stage.SEARCH] == {}
    assert store.trial(job.id, 0).origin == Origin(job_id=first, number=0)


def test_only_the_newest_are_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(store)
    newest = ended(store)
    monkeypatch.setattr(known, "MOST", 2)
    found = known_to(store)[Stage.SEARCH].values()
    assert [outcome.origin.job_id for outcome in found if outcome.origin] == [newest] * 2


HALVING = {"name": "successive_halving"}


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 2),
        ({"name": "another", "sampler": {"name": "random"}, "budget": {"trials": 7}}, 2),
        ({"seed": 1}, 0),
        ({"budget": {"trials": 7, "steps": 301}}, 0),
        ({"constraints": [{"metric": "validation_accuracy", "at_least": 0.5}]}, 2),
        ({"pruner": HALVING}, None),
        ({"constraints": [{"metric": "cost_seconds", "at_most": 9}]}, None),
        ({"objectives": [{"metric": "validation_loss"}, {"metric": "cost_steps"}]}, None),
    ],
)
def test_a_tune_job_knows_what_was_told_of_its_own_kind_and_of_itself(
    store: Store, changes: dict[str, Any], count: int | None
) -> None:
    ended(store)
    first, claim = running(store, tune())
    store.record_asked(claim, proposals())
    store.record_told(claim, [complete(0, 0.25), infeasible(1)], None)
    own = store.history(first.id).known[Stage.SEARCH]
    origins = [Origin(job_id=first.id, number=number) for number in (0, 1)]
    assert sorted((o.origin for o in own.values() if o.origin), key=str) == origins
    store.finish(claim, JobState.SUCCEEDED)
    job, _ = running(store, tune(**changes))
    assert store.history(job.id).known == (
        {} if count is None else {Stage.SEARCH: own if count else {}}
    )


def test_other_constraints_judge_what_was_trained_anew(store: Store) -> None:
    names = ("far", "near", "diverged")
    asked = [proposal(number, behaviour=name) for number, name in enumerate(names)]
    job, claim = running(store, tune(constraints=[{"metric": "validation_loss", "at_most": 1}]))
    store.record_asked(claim, asked)
    beyond = complete(0, 2.0, state=TrialState.INFEASIBLE, reason="validation_loss is 2")
    store.record_told(claim, [beyond, complete(1, 0.5), infeasible(2)], None)
    store.finish(claim, JobState.SUCCEEDED)
    for at_most, accuracy, states in (
        (3, 0, "COMPLETE COMPLETE INFEASIBLE"),
        (0.4, 0, "INFEASIBLE INFEASIBLE INFEASIBLE"),
        (1, 0, "INFEASIBLE COMPLETE INFEASIBLE"),
        (3, 0.9, "INFEASIBLE COMPLETE INFEASIBLE"),
    ):
        bounds = [
            {"metric": "validation_loss", "at_most": at_most},
            {"metric": "validation_accuracy", "at_least": accuracy},
        ]
        again, claim = running(store, tune(constraints=bounds))
        found = store.history(again.id).known[Stage.SEARCH]
        assert " ".join(found[name].state for name in names) == states
        assert all((found[n].reason is None) == (found[n].state == "COMPLETE") for n in names)
        assert found["far"].metrics["validation_loss"] == 2.0
        assert found["far"].origin == Origin(job_id=job.id, number=0)
        store.finish(claim, JobState.CANCELLED)
