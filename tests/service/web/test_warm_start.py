"""A job that starts from what an earlier one found."""

from typing import Any

import pytest

from dsl.candidate import Candidate, Proposal
from dsl.outcome import Origin, Outcome, TrialState
from service.assembly import strategy_of
from service.jobs import JOB_SPEC, TuneJob
from service.resources import JobState
from tests.search.test_tuning import bowl
from tests.service.web.conftest import DISCOVER, TUNE, Live

BODY = {**TUNE, "budget": {"trials": 150, "steps": 100}}


def ended(live: Live, rates: list[float], body: dict[str, Any] = BODY) -> str:
    """Run a job whose losses are `bowl`'s at these learning rates; return its id."""
    job_id = live.submit(body)
    claim = live.claim()
    proposals = [
        Proposal(
            number=number,
            candidate=Candidate(rule="adam", lr=rate),
            parameters={"lr": rate, "weight_decay": 0.001},
        )
        for number, rate in enumerate(rates)
    ]
    live.store.record_asked(claim, proposals)
    live.store.record_told(claim, [bowl(proposal) for proposal in proposals], None)
    live.store.finish(claim, JobState.SUCCEEDED)
    return job_id


def test_a_job_learns_from_an_ended_one_before_its_first_trial(live: Live) -> None:
    rates = [10 ** (-4 + 4 * i / 119) for i in range(120)]
    earlier = ended(live, rates)
    job_id = live.submit({**BODY, "warm_start": {"job": earlier}})
    spec = live.store.job(job_id).spec
    assert isinstance(spec, TuneJob)
    assert spec.warm_start is not None
    known = spec.warm_start.trials
    assert len(known) == 100
    values = [trial.value for trial in known if trial.value is not None]
    assert values == sorted(values)
    assert values[0] == min(
        bowl(Proposal(number=0, candidate=Candidate(rule="g"),
                      parameters={"lr": rate, "weight_decay": 0.001})).metrics["validation_loss"]
        for rate in rates if rate <= 0.3
    )  # fmt: skip
    assert any(trial.value is None for trial in known), "what diverged is learnt too"
    warm, cold = strategy_of(spec), strategy_of(JOB_SPEC.validate_python(BODY))
    near = [
        sum(0.003 < float(p.parameters["lr"]) < 0.03 for p in strategy.ask(30))
        for strategy in (warm, cold)
    ]
    assert near[0] > 2 * near[1]


def test_a_warm_search_goes_on_from_its_rows(live: Live) -> None:
    body = {
        **BODY,
        "warm_start": {"trials": [
            {"parameters": {"lr": 0.01, "weight_decay": 0.001}, "value": 0.1},
            {"parameters": {"lr": 0.9, "weight_decay": 0.001}, "value": None},
        ]},
    }  # fmt: skip
    spec = live.store.job(live.submit(body)).spec
    strategy = strategy_of(spec)
    rows: list[tuple[Proposal, Outcome | None]] = []
    for _ in range(3):
        asked = strategy.ask(6)
        told = [bowl(proposal) for proposal in asked]
        strategy.tell(told)
        rows += zip(asked, told, strict=True)
    assert [proposal.number for proposal, _ in rows] == list(range(18))
    again = strategy_of(spec)
    again.restore(rows, None)
    assert again.ask(6) == strategy.ask(6)
    strategy.tell([Outcome(number=18, state=TrialState.INFEASIBLE, reason="diverged")])
    strategy.abandon([19])


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"warm_start": {}}, "#/warm_start", "needs a job's id or trials"),
        ({"warm_start": {"job": "nobody"}}, "#/warm_start/job", "there is no job 'nobody'"),
        ({"warm_start": {"trials": [{"parameters": {"lr": 0.1}, "value": 1.0}]}},
         "#/warm_start/trials/0", "lr, weight_decay"),
        ({"warm_start": {"trials": [{"parameters": {"lr": 0.1, "weight_decay": 0.01},
                                     "value": 1.0}]}, "sampler": {"name": "cmaes"}},
         "#/warm_start", "allowed: tpe, gp"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from_is_refused(
    shared: Live, change: dict[str, Any], pointer: str, words: str
) -> None:
    found = shared.faults({**BODY, **change})
    assert words in found[pointer], found


def test_only_an_ended_job_of_the_same_kind_is_learnt_from(live: Live) -> None:
    running, other = live.submit(BODY), live.submit(DISCOVER)
    for job_id in (running, other):
        answer = live.http.post("/jobs", json={**BODY, "warm_start": {"job": job_id}})
        assert answer.status_code == 422, answer.text
        assert "allowed: an ended tune job with the same task" in answer.text
    live.claim()
    live.claim()
    elsewhere = {"lr": {"type": "float", "low": 1e-5, "high": 1e-4}}
    outside = {**BODY, "space": elsewhere, "warm_start": {"job": ended(live, [0.1])}}
    answer = live.http.post("/jobs", json=outside)
    assert answer.status_code == 422
    assert "lies in the space" in answer.text


def test_what_a_trial_cost_is_not_learnt_where_it_was_taken_over(live: Live) -> None:
    earlier = ended(live, [0.01, 0.02])
    job_id, claim = live.submit(BODY), live.claim()
    proposals = [
        Proposal(
            number=number,
            candidate=Candidate(rule="adam", lr=rate),
            parameters={"lr": rate, "weight_decay": 0.001},
        )
        for number, rate in enumerate((0.01, 0.03))
    ]
    told = [bowl(proposal) for proposal in proposals]
    told[0] = told[0].model_copy(update={"origin": Origin(job_id=earlier, number=0)})
    live.store.record_asked(claim, proposals)
    live.store.record_told(claim, told, None)
    live.store.finish(claim, JobState.SUCCEEDED)
    bound = {"constraints": [{"metric": "cost_seconds", "at_most": 9}]}
    for more, rates in (({}, {0.01, 0.03}), (bound, {0.03})):
        body = {**BODY, **more, "warm_start": {"job": job_id}}
        spec = live.store.job(live.submit(body)).spec
        assert isinstance(spec, TuneJob)
        assert spec.warm_start is not None
        assert {trial.parameters["lr"] for trial in spec.warm_start.trials} == rates
