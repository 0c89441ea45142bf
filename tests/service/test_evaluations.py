"""What a job's body says of how its trials are judged."""

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import TrialState
from service.evaluations import conditions, evaluation_of
from tests.service.store.samples import discover, tune
from workers.evaluation import judge
from workers.protocol import FINE_GRID, GRID, Protocol, SuccessiveHalving

HALVING = {"name": "successive_halving", "reduction": 2, "min_steps": 20}
STRONG = {"learning_rates": [0.01, 0.1], "grid_steps": None, "seeds": 5, "batch_size": 128}


def test_what_a_body_leaves_out_is_the_protocol_of_the_search_paper_scaled_down() -> None:
    protocols = evaluation_of(discover()).protocols
    assert protocols == {
        Stage.SEARCH: Protocol(steps=200, grid_steps=60, learning_rates=GRID),
        Stage.COMPARISON: Protocol(
            steps=300, grid_steps=None, learning_rates=FINE_GRID, seeds=5, test=True
        ),
    }
    assert evaluation_of(tune()).protocols == {Stage.SEARCH: Protocol(steps=300)}


def test_a_body_sets_everything_of_a_protocol() -> None:
    search = {**STRONG, "steps": 500, "precision": "bfloat16", "pruner": HALVING}
    job = discover(
        protocol=search,
        comparison={**STRONG, "steps": 900, "precision": "tf32"},
        objective={"metric": "validation_accuracy", "direction": "maximize"},
    )
    compared = {"metric": "validation_accuracy", "direction": "maximize"}
    assert evaluation_of(job).protocols == {
        Stage.SEARCH: Protocol.model_validate(search | compared),
        Stage.COMPARISON: Protocol.model_validate(
            {**STRONG, "steps": 900, "precision": "tf32", "test": True} | compared
        ),
    }
    higher = discover(comparison={"tasks": ["wine"], "long": True, "steps": 40})
    compared = evaluation_of(higher).protocols
    assert compared[Stage.UNSEEN] == compared[Stage.COMPARISON]
    assert compared[Stage.LONG] == compared[Stage.COMPARISON].model_copy(update={"steps": 400})
    trials = tune(protocol={**STRONG, "precision": "tf32"}, pruner=HALVING)
    assert evaluation_of(trials).protocols == {
        Stage.SEARCH: Protocol.model_validate(
            {**STRONG, "precision": "tf32", "steps": 300, "pruner": HALVING}
        )
    }
    assert isinstance(evaluation_of(trials).protocols[Stage.SEARCH].pruner, SuccessiveHalving)


def test_jobs_that_compute_otherwise_judge_otherwise() -> None:
    known = conditions(discover())
    for changed in ({"precision": "bfloat16"}, {"batch_size": 32}, {"grid_steps": None}):
        other = conditions(discover(protocol=changed))
        assert other[Stage.SEARCH] != known[Stage.SEARCH]
        assert other[Stage.COMPARISON] == known[Stage.COMPARISON]


def test_what_is_known_on_an_unseen_task_is_known_to_searches_on_every_task() -> None:
    compared = {"tasks": ["diabetes"], "long": True}
    digits, wine = (
        conditions(discover(task={"name": name}, comparison=compared))
        for name in ("digits-mlp", "wine")
    )
    assert digits[Stage.UNSEEN] == wine[Stage.UNSEEN]
    assert {*digits.values()} & {*wine.values()} == {digits[Stage.UNSEEN]}
    assert len({*digits.values()}) == len(Stage)


def test_what_a_pruner_stopped_is_not_taken_over() -> None:
    assert set(conditions(discover(protocol={"pruner": HALVING}))) == {Stage.COMPARISON}


def test_an_outcome_says_how_it_was_computed() -> None:
    protocol = {"steps": 12, "batch_size": 32, "precision": "bfloat16", "learning_rates": [0.1]}
    evaluation = evaluation_of(discover(protocol=protocol, task={"name": "wine"}))
    (outcome,) = judge(evaluation, [Proposal(number=0, candidate=Candidate(rule="g"))])
    assert outcome.state is TrialState.COMPLETE
    assert (outcome.precision, outcome.batch_size) == ("bfloat16", 32)
