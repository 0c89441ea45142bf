import pytest

from dsl.candidate import Candidate, Decay, ScheduleSpec, Stage
from dsl.canonical import canonical_text, rule_id
from dsl.compile import compile_rule
from dsl.errors import RuleError
from dsl.latex import to_latex
from dsl.outcome import TrialState
from optimizers.catalogue import CATALOGUE
from service.resources import JobState, Standing
from service.store.query import Query
from service.store.store import Store
from tests.service.store.samples import (
    compared,
    complete,
    discover,
    infeasible,
    judged,
    proposal,
    running,
    tune,
)

NEW = "g * abs(g) + sign(g)"


def board(store: Store, **query: str) -> list[tuple[str | None, float]]:
    page = store.standings(Query(**query))  # type: ignore[arg-type]
    return [(standing.label, standing.value) for standing in page.items]


def test_the_catalogue_is_known_from_the_start(store: Store) -> None:
    for entry in CATALOGUE.values():
        rule = store.rule(rule_id(entry.rule))
        assert rule.origin == "catalogue"
        assert rule.text == canonical_text(entry.rule)
        assert rule.label is not None
        assert rule_id(CATALOGUE[rule.label].rule) == rule.id
        assert rule.latex == to_latex(rule.text)
        assert rule.slots == len(compile_rule(rule.text).slots)
    assert store.rule(rule_id(CATALOGUE["adamw"].rule)).label == "adam"


def test_a_rule_by_hand(store: Store) -> None:
    rule = store.add_rule(NEW, label="mine")
    assert (rule.id, rule.text) == (rule_id(NEW), canonical_text(NEW))
    assert (rule.label, rule.origin, rule.standings) == ("mine", "manual", ())
    assert store.rule(rule.id) == rule
    assert store.add_rule("sign(g) + abs(g) * g", label="other") == rule
    sgd = store.add_rule("g", label="mine")
    assert (sgd.label, sgd.origin) == ("sgd", "catalogue")


def test_what_is_no_rule_is_refused(store: Store) -> None:
    for text in ("", "g +", "nonsense(g)", "1 + 2", "g" * 5000, "g\0"):
        with pytest.raises(RuleError):
            store.add_rule(text)


def test_a_standing_says_how_it_was_computed(store: Store) -> None:
    job, claim = running(store)
    store.record_asked(claim, [proposal(0), proposal(1, "sign(g)")])
    told = [complete(0, 0.3, precision="bfloat16", batch_size=32), complete(1, 0.4)]
    store.record_told(claim, told, None)
    rows = store.standings(Query()).items
    assert [(row.precision, row.batch_size) for row in rows] == [("bfloat16", 32), ("float32", 64)]
    trials = [store.trial(job.id, number) for number in (0, 1)]
    assert [(t.precision, t.batch_size) for t in trials] == [("bfloat16", 32), ("float32", 64)]


def test_one_row_for_each_rule_with_its_best(store: Store) -> None:
    job, claim = running(store, discover())
    store.record_asked(claim, [proposal(i, rule) for i, rule in enumerate((NEW, NEW, "g", NEW))])
    told = [complete(0, 0.3), complete(1, 0.2), complete(2, 0.5)]
    store.record_told(claim, told, None)
    assert board(store) == [(None, 0.2), ("sgd", 0.5)]
    store.record_told(claim, [complete(3, 0.25)], None)
    page = store.standings()
    assert page.total == 2
    assert page.items[0] == Standing(
        rule_id=rule_id(NEW),
        rule=canonical_text(NEW),
        task="digits-mlp",
        stage=Stage.SEARCH,
        job_id=job.id,
        number=1,
        metric="validation_loss",
        direction="minimize",
        value=0.2,
        lr=0.1,
        metrics=told[1].metrics,
        spread={},
        seeds=1,
        steps=300,
        slots=1,
    )
    assert store.rule(rule_id(NEW)).standings == (page.items[0],)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"compared": True, "value": 0.9}, {"compared": False, "value": 0.1, "seeds": 9}),
        ({"seeds": 5, "value": 0.9}, {"seeds": 1, "value": 0.1, "step": 999}),
        ({"step": 300, "value": 0.9}, {"step": 100, "value": 0.1}),
        ({"value": 0.1}, {"value": 0.9}),
    ],
)
def test_the_better_attested_figure_counts(
    store: Store, better: dict[str, float], worse: dict[str, float], first: int
) -> None:
    _, claim = running(store, discover())
    for number, figure in enumerate((better, worse) if first == 0 else (worse, better)):
        ask = compared if figure.get("compared") else proposal
        store.record_asked(claim, [ask(number, NEW)])
        rest = {name: figure[name] for name in ("seeds", "step") if name in figure}
        store.record_told(claim, [complete(number, figure["value"], **rest)], None)
    assert board(store) == [(None, better["value"])]


def test_comparisons_come_first_then_the_better(store: Store) -> None:
    _, claim = running(store, discover())
    judged(store, claim, [0.1, 0.2])
    store.record_asked(claim, [compared(4, NEW), compared(5, CATALOGUE["adam"].rule, "adam")])
    store.record_told(claim, [complete(4, 0.5, seeds=5), complete(5, 0.4, seeds=5)], None)
    assert [value for _, value in board(store)] == [0.4, 0.5, 0.1, 0.2]
    assert [value for _, value in board(store, order_by="value")] == [0.1, 0.2, 0.4, 0.5]
    assert board(store, filter="stage = comparison AND label = null") == [(None, 0.5)]
    assert board(store, filter="label = adam") == [("adam", 0.4)]
    assert store.standings(task="digits-mlp").total == 4
    assert store.standings(task="another").total == 0


def test_adam_and_adamw_are_two_rows(store: Store) -> None:
    _, claim = running(store, discover())
    names = ("adam", "adamw")
    asked = [compared(i, CATALOGUE[name].rule, name) for i, name in enumerate(names)]
    store.record_asked(claim, asked)
    store.record_told(claim, [complete(0, 0.4), complete(1, 0.3)], None)
    assert board(store) == [("adamw", 0.3), ("adam", 0.4)]


def test_a_tuned_optimizer_stands_under_its_own_name(store: Store) -> None:
    """Adam's rule and AdamW's are one text: what tuning made of one is not the other's."""
    for name, decay, value in (("adamw", "decoupled", 0.1), ("adam", "none", 0.2)):
        _, claim = running(store, tune(optimizer=name))
        candidate = Candidate(
            rule=CATALOGUE[name].rule,
            lr=0.1,
            decay=decay,
            weight_decay=0.03 if decay != "none" else 0.0,
            schedule=ScheduleSpec(name="cosine"),
        )
        store.record_asked(claim, [proposal(0, candidate=candidate)])
        store.record_told(claim, [complete(0, value)], None)
        store.finish(claim, JobState.SUCCEEDED)
        assert store.trial(claim.job_id, 0).label == name
        assert store.trial(claim.job_id, 0).decay == decay
        assert store.trial(claim.job_id, 0).schedule == "cosine"
    assert board(store) == [("adamw", 0.1), ("adam", 0.2)]
    first, second = store.standings().items
    assert (first.decay, first.weight_decay, first.schedule) == ("decoupled", 0.03, "cosine")
    assert (second.decay, second.weight_decay) == ("none", 0.0)
    assert {s.label for s in store.rule(rule_id(CATALOGUE["adam"].rule)).standings} == {
        "adam",
        "adamw",
    }


@pytest.mark.parametrize(
    ("rule", "decay", "label"),
    [
        (CATALOGUE["adam"].rule, "none", "adam"),
        (CATALOGUE["adam"].rule, "decoupled", "adamw"),
        (CATALOGUE["adam"].rule, "l2", "adam_l2"),
        (CATALOGUE["rmsprop"].rule, "l2", "rmsprop with l2 decay"),
        (CATALOGUE["lion"].rule, "none", "lion without decay"),
        (NEW, "none", None),
        (NEW, "decoupled", "with decoupled decay"),
    ],
)
def test_decay_is_part_of_an_unnamed_optimizers_name(
    store: Store, rule: str, decay: Decay, label: str | None
) -> None:
    _, claim = running(store, discover())
    candidates = [Candidate(rule=rule, lr=0.1, decay=each) for each in ("paper", decay)]
    store.record_asked(claim, [proposal(i, candidate=c) for i, c in enumerate(candidates)])
    store.record_told(claim, [complete(0, 0.1), complete(1, 0.2)], None)
    assert board(store)[1] == (label, 0.2)


def test_a_rule_that_fails_its_comparison_is_said_to(store: Store) -> None:
    """Its figure from the search stays, but no longer without a word."""
    _, claim = running(store, discover())
    store.record_asked(claim, [proposal(0, NEW), proposal(1, "g"), compared(2, NEW)])
    store.record_told(claim, [complete(0, 0.1), complete(1, 0.2)], None)
    assert [s.failed_comparison for s in store.standings().items] == [None, None]
    store.record_told(claim, [infeasible(2, "diverged with fresh seeds")], None)
    found = {s.label: s.failed_comparison for s in store.standings().items}
    assert found == {None: "diverged with fresh seeds", "sgd": None}


def test_larger_is_better_where_the_job_says_so(store: Store) -> None:
    objective = {"metric": "validation_accuracy", "direction": "maximize"}
    _, claim = running(store, discover(objective=objective))
    store.record_asked(claim, [proposal(0, NEW), proposal(1, NEW), proposal(2, "g")])
    store.record_told(claim, [complete(0, 3.0), complete(1, 1.0), complete(2, 2.0)], None)
    assert [label for label, _ in board(store)] == [None, "sgd"]
    assert [value for _, value in board(store)] == pytest.approx([0.9, 0.8])


def test_only_complete_trials_stand(store: Store) -> None:
    _, claim = running(store, discover())
    store.record_asked(claim, [proposal(0, NEW), proposal(1, "g")])
    pruned = complete(1, 0.1).model_copy(update={"state": TrialState.PRUNED})
    store.record_told(claim, [infeasible(0), pruned], None)
    assert board(store) == []


def test_a_deleted_jobs_figures_give_way(store: Store) -> None:
    for value, rule in ((0.3, NEW), (0.2, NEW), (0.1, "g")):
        _, claim = running(store, discover())
        store.record_asked(claim, [proposal(0, rule), proposal(1, "sign(g)")])
        store.record_told(claim, [complete(0, value), complete(1, value + 1)], None)
        store.finish(claim, JobState.SUCCEEDED)
    newest, second, _ = store.jobs().items
    values = [value for _, value in board(store)]
    assert values == pytest.approx([0.1, 0.2, 1.1])
    store.delete_job(second.id)
    assert [value for _, value in board(store)] == pytest.approx([0.1, 0.3, 1.1])
    store.delete_job(newest.id)
    assert [value for _, value in board(store)] == pytest.approx([0.3, 1.3])
    store.delete_job(store.jobs().items[0].id)
    assert board(store) == []
    assert store.rule(rule_id(NEW)).standings == ()


def test_two_jobs_raise_one_rule_at_once(store: Store) -> None:
    """Writers of the same rules never wait for each other in a circle, and the best stays."""
    import threading

    rules = [f"g * {number}.5 + sign(g)" for number in range(2, 12)]
    claims = [running(store, discover())[1] for _ in range(3)]
    barrier = threading.Barrier(3)
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            barrier.wait()
            for start in range(0, 40, 10):
                order = rules if index % 2 else rules[::-1]
                asked = [proposal(start + i, rule) for i, rule in enumerate(order)]
                store.record_asked(claims[index], asked)
                values = [1.0 + index - start / 100 for _ in asked]
                told = [complete(p.number, v) for p, v in zip(asked, values, strict=True)]
                store.record_told(claims[index], told, None)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [value for _, value in board(store)] == pytest.approx([0.7] * 10)
