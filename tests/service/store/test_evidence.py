"""What the leaderboard says of rules that were compared, on unseen tasks too."""

from collections.abc import Sequence

from dsl.candidate import Proposal, Stage
from dsl.canonical import rule_id
from dsl.outcome import Outcome
from optimizers.catalogue import CATALOGUE
from service.resources import Evidence, PairedTest
from service.store.query import Query
from service.store.store import Store
from tests.service.store.samples import complete, discover, infeasible, proposal, running

FOUND, OTHER, WEAK = "g * exp(sign(g) * sign(m))", "sign(g) * m", "sign(g)"
TASKS = ("wine", "diabetes")
ADAMW = CATALOGUE["adamw"].rule

Entry = tuple[str, str | None, Stage, str | None]
"""Rule, label, stage, task."""

COMPARED: tuple[Entry, ...] = tuple(
    (rule, label, Stage.COMPARISON, None)
    for rule, label in ((FOUND, None), (OTHER, None), (WEAK, None), ("g", "sgd"), (ADAMW, "adamw"))
)
UNSEEN: tuple[Entry, ...] = tuple(
    (rule, label, Stage.UNSEEN, task)
    for task in TASKS
    for rule, label in ((FOUND, None), (OTHER, None), ("g", "sgd"), (ADAMW, "adamw"))
)
LONG: tuple[Entry, ...] = ((FOUND, None, Stage.LONG, None), (ADAMW, "adamw", Stage.LONG, None))


def figures(number: int, test: Sequence[float], validation: float = 0.5) -> Outcome:
    mean = sum(test) / len(test)
    return complete(
        number,
        validation,
        metrics={"validation_loss": validation, "test_loss": mean},
        by_seed={"test_loss": tuple(test)},
        seeds=len(test),
        cost_steps=900,
        cost_seconds=1.5,
    )


def record(store: Store, entries: Sequence[Entry], losses: Sequence[Sequence[float]]) -> str:
    """Let a job ask these and be told these test losses by seed, none for a failure."""
    job, claim = running(store, discover(comparison={"tasks": TASKS, "long": True}))
    asked: list[Proposal] = [
        proposal(number, rule, label=label, stage=stage, task=task)
        for number, (rule, label, stage, task) in enumerate(entries)
    ]
    store.record_asked(claim, asked)
    told = [figures(i, test) if test else infeasible(i) for i, test in enumerate(losses)]
    told = [
        outcome.model_copy(update={"step": 3000}) if entry[2] is Stage.LONG else outcome
        for entry, outcome in zip(entries, told, strict=True)
    ]
    store.record_told(claim, told, None)
    return job.id


def of(store: Store, rule: str, task: str = "digits-mlp") -> Evidence:
    (standing,) = [s for s in store.rule(rule_id(rule)).standings if s.task == task]
    assert standing.evidence is not None
    return standing.evidence


def test_a_rule_is_tested_against_adamw_on_the_same_seeds(store: Store) -> None:
    losses = [(1.0, 2.0, 3.0), (2.0, 2.0, 1.9), (), (9.0, 9.0, 9.0), (1.5, 2.25, 2.0)]
    record(store, COMPARED, losses)
    found = of(store, FOUND)
    assert (found.metric, found.rank, found.of) == ("test_loss", 3, 5)
    assert found.paired == PairedTest(
        against="adamw", metric="test_loss", steps=300, seeds=3, wins=2,
        difference=(-0.5 - 0.25 + 1.0) / 3, p_value=1.0,
        test="Wilcoxon signed-rank test, exact, two-sided",
    )  # fmt: skip
    assert of(store, OTHER).rank == 2
    assert of(store, ADAMW).rank == 1
    assert of(store, ADAMW).paired is None
    assert store.rule(rule_id(WEAK)).standings == ()
    standing = store.standings(Query(filter="label = sgd")).items[0]
    assert (standing.cost_steps, standing.cost_seconds) == (900, 1.5)


def test_who_wins_on_the_search_task_only_is_said_to(store: Store) -> None:
    compared = [(1.0,), (1.0,), (1.0,), (9.0,), (2.0,)]
    unseen = [(3.0,), (3.0,), (4.0,), (2.0,), (3.0,), (1.0,), (4.0,), (2.0,)]
    record(store, [*COMPARED, *UNSEEN], [*compared, *unseen])
    found, other = of(store, FOUND), of(store, OTHER)
    assert (found.unseen_tasks, found.better_on, found.search_task_only) == (TASKS, (), True)
    assert (other.unseen_tasks, other.better_on) == (TASKS, ("diabetes",))
    assert not other.search_task_only
    # Not tried elsewhere, or worse already on the search's task: nothing of the kind is claimed.
    assert of(store, WEAK).unseen_tasks == ()
    assert of(store, ADAMW).unseen_tasks == ()
    assert store.rule(rule_id(FOUND)).standings[0].task == "digits-mlp"
    assert not of(store, WEAK).search_task_only
    assert not of(store, "g").search_task_only


def test_an_unseen_task_has_its_own_leaderboard(store: Store) -> None:
    unseen = [(3.0,), (2.5,), (4.0,), (2.0,), (), (1.0,), (4.0,), ()]
    job_id = record(store, UNSEEN, unseen)
    page = store.standings(task="wine")
    assert {standing.stage for standing in page.items} == {Stage.UNSEEN}
    assert {standing.rule_id for standing in page.items} == {
        rule_id(rule) for rule in (FOUND, OTHER, "g", ADAMW)
    }
    assert (of(store, FOUND, "wine").rank, of(store, OTHER, "diabetes").rank) == (3, 1)
    # AdamW came to nothing on diabetes, where this rule did not; the other failed there as well.
    assert of(store, OTHER, "diabetes").better_on == ("diabetes",)
    assert of(store, OTHER, "diabetes").paired is None
    assert of(store, FOUND, "wine").better_on == ()
    assert store.standings(task="digits-mlp").items == ()
    trials = store.trials(job_id, Query(filter="task = diabetes")).items
    assert [trial.task for trial in trials] == ["diabetes"] * 4


def test_long_runs_are_told_beside_the_figure_and_replace_none(store: Store) -> None:
    losses = [(1.0, 2.0), (2.0, 2.0), (3.0, 3.0), (9.0, 9.0), (2.0, 1.0)]
    record(store, [*COMPARED, *LONG], [*losses, (0.5, 0.25), (1.0, 0.5)])
    standing = store.rule(rule_id(FOUND)).standings[0]
    assert standing.stage is Stage.COMPARISON
    assert standing.evidence is not None
    long = standing.evidence.long
    assert long is not None
    assert (long.wins, long.seeds, long.difference, long.steps) == (2, 2, -0.375, 3000)


def test_what_is_maximised_is_better_when_larger(store: Store) -> None:
    objective = {"metric": "validation_accuracy", "direction": "maximize"}
    _, claim = running(store, discover(objective=objective))
    asked = [proposal(0, FOUND, stage=Stage.COMPARISON)]
    asked += [proposal(1, ADAMW, stage=Stage.COMPARISON, label="adamw")]
    store.record_asked(claim, asked)
    told = [
        complete(
            i,
            0.5,
            metrics={"validation_accuracy": sum(each) / 3},
            by_seed={"validation_accuracy": each},
            seeds=3,
        )
        for i, each in enumerate(((0.9, 0.8, 0.9), (0.7, 0.85, 0.8)))
    ]
    store.record_told(claim, told, None)
    found = of(store, FOUND)
    assert (found.metric, found.rank) == ("validation_accuracy", 1)
    assert found.paired is not None
    assert found.paired.wins == 2


def test_a_rule_that_fails_on_an_unseen_task_is_said_to_there(store: Store) -> None:
    _, claim = running(store, discover(task={"name": "wine"}))
    store.record_asked(claim, [proposal(0, OTHER)])
    store.record_told(claim, [complete(0, 0.1)], None)
    record(store, UNSEEN[1:2], [()])
    (standing,) = store.standings(task="wine").items
    assert (standing.stage, standing.evidence) == (Stage.SEARCH, None)
    assert standing.failed_comparison == infeasible(0).reason
