"""Candidates are the same if they train alike, whatever their texts are."""

import pytest

from dsl.candidate import Candidate, ScheduleSpec
from dsl.compile import compile_rule
from search.identity import behaviour, is_current, spelled
from search.identity import named as name_of


def named(rule: str = "g", **numbers: object) -> str:
    return behaviour(Candidate.model_validate({"rule": rule, **numbers}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (named("2 * g"), named("g")),
        (named("exp(g) * exp(m)"), named("exp(g + m)")),
        (named(seed=1), named(seed=2)),
        (named("2 * g", decay="paper", weight_decay=0.1), named(decay="paper", weight_decay=0.1)),
        (named(decay="l2"), named()),
        (named("pytorch_optimizer.Muon"), named("pytorch_optimizer.Muon", seed=3)),
    ],
)
def test_the_same(one: str, other: str) -> None:
    assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (named(), named("m")),
        (named("2 * g", lr=0.1), named("g", lr=0.1)),
        (named(lr=0.1), named(lr=0.2)),
        (named(), named(decay="l2", weight_decay=0.1)),
        (named(decay="paper", weight_decay=0.1), named(decay="l2", weight_decay=0.1)),
        (
            named("2 * g", decay="decoupled", weight_decay=0.1),
            named("g", decay="decoupled", weight_decay=0.1),
        ),
        (named("trace(g, mu)"), named("trace(g, mu)", hyperparameters={"mu": 0.5})),
        (named(), named(schedule=ScheduleSpec(name="cosine"))),
        (named("pytorch_optimizer.Muon"), named("pytorch_optimizer.SOAP")),
    ],
)
def test_not_the_same(one: str, other: str) -> None:
    assert one != other


def test_a_spelling_holds_every_number_and_no_seed() -> None:
    mirrored = [
        Candidate(rule=rule, lr=0.1, hyperparameters={"beta": 0.5, "mu": 0.9})
        for rule in ("ema(g, beta) * sign(ema(w, mu))", "ema(g, mu) * sign(ema(w, beta))")
    ]
    numbers: list[dict[str, object]] = [
        {"lr": 0.2},
        {"hyperparameters": {"beta": 0.9, "mu": 0.5}},
        {"decay": "l2"},
        {"weight_decay": 0.1},
        {"schedule": ScheduleSpec(name="cosine")},
        {"batch_size": 32},
        {"rule": "pytorch_optimizer.Muon"},
    ]
    others = [mirrored[0].model_copy(update=each) for each in numbers]
    assert len({spelled(each) for each in (*mirrored, *others)}) == 9
    same = mirrored[0].model_copy(update={"seed": 7, "rule": "sign(ema(w, mu)) * ema(g, beta)"})
    assert spelled(same) == spelled(mirrored[0])


def test_a_hyperparameter_given_its_default_is_as_one_left_out() -> None:
    rule = "beta = 0.8\nema(g, beta) * sign(ema(w, mu))"
    default = compile_rule(rule).hyperparameters["mu"]
    left_out = spelled(Candidate(rule=rule, hyperparameters={"mu": 0.5}))
    assert spelled(Candidate(rule=rule, hyperparameters={"mu": 0.5, "beta": 0.8})) == left_out
    assert spelled(Candidate(rule=rule, hyperparameters={"mu": default, "beta": 0.8})) == spelled(
        Candidate(rule=rule)
    )
    for other in ({"mu": 0.5, "beta": 0.9}, {"mu": default}, {"beta": 0.5}):
        assert spelled(Candidate(rule=rule, hyperparameters=other)) != left_out
    library = Candidate(rule="torch.optim.Adam", hyperparameters={"eps": 1e-8})
    assert spelled(library) != spelled(Candidate(rule="torch.optim.Adam"))


def test_the_name_is_the_same_for_a_canonical_form() -> None:
    candidate = Candidate(rule="adam")
    assert behaviour(candidate, canonical=True) == behaviour(candidate)


def test_a_name_says_of_which_edition_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate(rule="g")
    name = name_of(candidate)
    assert len(name) == 16
    assert is_current(name)
    assert not is_current(b"")
    assert name != name_of(Candidate(rule="m")) != name_of(candidate, canonical=True) == name
    monkeypatch.setattr("search.identity.edition", lambda: b"no")
    assert not is_current(name)
    assert name_of(candidate) == b"no" + name[2:]
