import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search import funnel
from search.comparison import WithComparison, fresh_seed
from search.discovery import RandomStrategy
from search.distinct import distinct
from search.language import Language
from search.settings import LanguageSettings, Objective
from search.words import Lists
from tests.search.laws import Rows, restored

LISTS = Lists(("g", "m"), ("{x}", "sign({x})", "-{x}"), ("{x} * {y}", "{x} + {y}", "{x}"))
BASELINES = (
    ("sgd", Candidate(rule="g", lr=0.5)),
    ("momentum", Candidate(rule="trace(g, 0.9)")),
    ("adamw", Candidate(rule="adam", decay="decoupled", weight_decay=0.01)),
)
SEED = 7
LOSS = Objective()


def make(objective: Objective = LOSS, top: int = 4, budget: int = 20) -> WithComparison:
    language = Language(LanguageSettings(groups=1), LISTS)
    inner = RandomStrategy(language, objective, budget, Candidate(rule="g", seed=SEED), SEED)
    return WithComparison(inner, objective, top, BASELINES, SEED)


def loss(proposal: Proposal) -> float:
    """The update g itself is best, so the search is sure to find what a baseline is."""
    rule = proposal.candidate.rule
    return 0.01 if rule == "g" else 0.1 + sum(rule.encode()) % 89 / 89


def told(proposal: Proposal, metric: str = "validation_loss") -> Outcome:
    if proposal.number % 6 == 1:
        return Outcome(number=proposal.number, state=TrialState.INFEASIBLE, reason="diverged")
    metrics = {metric: loss(proposal)}
    return Outcome(number=proposal.number, state=TrialState.COMPLETE, metrics=metrics)


def search(strategy: WithComparison) -> Rows:
    rows: Rows = []
    while strategy._plan is None and not strategy.inner.finished:
        proposals = strategy.ask(6)
        assert all(proposal.stage is Stage.SEARCH for proposal in proposals)
        outcomes = [told(proposal) for proposal in proposals]
        strategy.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    return rows


def test_the_best_and_the_baselines_are_judged_anew() -> None:
    strategy = make(budget=100)
    rows = search(strategy)
    assert "g" in {proposal.candidate.rule for proposal, _ in rows}
    proposals = strategy.ask(100)
    assert [p.number for p in proposals] == list(range(len(rows), len(rows) + 7))
    assert {p.stage for p in proposals} == {Stage.COMPARISON}
    assert [p.label for p in proposals] == [None] * 4 + ["sgd", "momentum", "adamw"]
    sound = [p for p, o in rows if o is not None and o.state is TrialState.COMPLETE]
    sound = [p for p in sound if p.candidate.rule != "g"]  # sgd is among the baselines already
    assert [loss(p) for p in proposals[:4]] == sorted(loss(p) for p in sound)[:4]
    assert {p.candidate.rule for p in proposals[:4]} <= {p.candidate.rule for p in sound}
    assert len({p.candidate.rule for p in proposals}) == 7
    assert {p.candidate.seed for p in proposals} == {fresh_seed(SEED)}
    assert {p.candidate.lr for p in proposals} == {None}
    assert proposals[-1].candidate.weight_decay == 0.01
    assert not strategy.finished
    strategy.tell([told(p) for p in proposals])
    assert strategy.finished
    assert strategy.ask(3) == []


class Given:
    """A search that is over once it is told: these rules, each as good as its place."""

    def __init__(self, *rules: str) -> None:
        self.rules = rules
        self.finished = False

    def ask(self, count: int) -> list[Proposal]:
        candidates = [Candidate(rule=rule, seed=SEED) for rule in self.rules]
        asked = [Proposal(number=i, candidate=c) for i, c in enumerate(candidates)]
        return [] if self.finished else asked

    def tell(self, outcomes: list[Outcome]) -> None:
        self.finished = True

    def restore(self, history: Rows, snapshot: bytes | None) -> None:
        self.finished = True


def judged(proposals: list[Proposal]) -> list[Outcome]:
    return [
        Outcome(number=p.number, state=TrialState.COMPLETE, metrics={"validation_loss": p.number})
        for p in proposals
    ]


def compared(top: int, *rules: str) -> list[str]:
    """Return which rules are compared, given in any order and after any restart."""
    strategies = []
    for step in (1, -1):
        strategy = WithComparison(Given(*rules), LOSS, top, BASELINES, SEED)  # type: ignore[arg-type]
        searched = strategy.ask(len(rules))
        strategy.tell(judged(searched)[::step])
        strategies.append(strategy)
    plan = strategies[0].ask(100)
    assert plan == strategies[1].ask(100)
    for begun in range(1, len(plan)):
        again = WithComparison(Given(*rules), LOSS, top, BASELINES, SEED)  # type: ignore[arg-type]
        history = list(zip(searched, judged(searched), strict=True))
        again.restore([*history, *((p, None) for p in plan[:begun])], None)
        assert again.ask(100) == plan
    return [proposal.candidate.rule for proposal in plan if proposal.label is None]


def test_rules_that_behave_alike_are_compared_once() -> None:
    rules = ("2 * g", "exp(g) * exp(w)", "exp(g + w)", "trace(g, 0.9) / 3", "adam", "sign(g)")
    # adam without decay is not adamw
    assert compared(3, *rules) == ["exp(g) * exp(w)", "adam", "sign(g)"]


NEAR = ("sign(m) + clip(w, 0.0001)", "g + clip(w, 0.00001)", "sign(m)", "sign(m) - 0.0001", "adam")


def test_near_copies_of_better_rules_and_of_baselines_are_not_compared() -> None:
    assert compared(2, *NEAR) == ["sign(m) + clip(w, 0.0001)", "adam"]


def test_where_distinct_rules_lack_near_copies_fill_up() -> None:
    first = ["sign(m) + clip(w, 0.0001)", "adam"]
    assert compared(4, *NEAR, "2 * g") == [*first, "g + clip(w, 0.00001)", "sign(m)"]
    assert compared(9, *NEAR, "2 * g") == [*compared(4, *NEAR), "sign(m) - 0.0001"]


def test_of_a_long_search_only_the_best_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(funnel, "SPARE", 1)
    rules = ("sign(m)", *(f"sign(m) + {n}e-5 * w" for n in range(1, 9)), "sign(g)")
    assert compared(1, *rules) == ["sign(m)"]
    assert compared(2, *rules) == ["sign(m)", "sign(m) + 1e-5 * w"], "the other was forgotten"
    strategy = WithComparison(Given(*rules), LOSS, 2, BASELINES, SEED)  # type: ignore[arg-type]
    strategy.tell(judged(strategy.ask(10)))
    assert len(strategy._best) == 2 + len(BASELINES) + 1


def test_a_comparison_begun_when_near_copies_were_compared_keeps_them() -> None:
    strategy = WithComparison(Given(*NEAR), LOSS, 3, BASELINES, SEED)  # type: ignore[arg-type]
    searched = strategy.ask(5)
    former = [
        Proposal(
            number=5 + place,
            candidate=Candidate(rule=rule, seed=fresh_seed(SEED)),
            stage=Stage.COMPARISON,
        )
        for place, rule in enumerate((NEAR[0], NEAR[2]))
    ]
    told = list(zip(searched, judged(searched), strict=True))
    strategy.restore([*told, *zip(former, judged(former), strict=True)], None)
    asked = strategy.ask(100)
    assert [p.number for p in asked] == [7, 8, 9, 10]
    assert [p.label or p.candidate.rule for p in asked] == [
        "adam",
        *(name for name, _ in BASELINES),
    ]


def test_it_waits_for_every_outcome_of_the_search() -> None:
    strategy = make()
    waiting = strategy.ask(20)
    assert strategy.ask(5) == []
    strategy.tell([told(p) for p in waiting[:-1]])
    assert strategy.ask(5) == []
    strategy.abandon([waiting[-1].number])
    assert {p.stage for p in strategy.ask(5)} == {Stage.COMPARISON}


def test_what_is_maximised_is_compared_so() -> None:
    objective = Objective(metric="validation_accuracy", direction="maximize")
    strategy = make(objective)
    rows: Rows = []
    while not strategy.inner.finished:
        proposals = strategy.ask(6)
        outcomes = [told(p, "validation_accuracy") for p in proposals]
        strategy.tell(outcomes)
        rows += zip(proposals, outcomes, strict=True)
    sound = sorted((p for p, o in rows if o is not None and o.metrics), key=loss, reverse=True)
    places = distinct([p.candidate for p in sound], 4, [candidate for _, candidate in BASELINES])
    best = [loss(p) for p in strategy.ask(9) if p.label is None]
    assert best == [loss(sound[place]) for place in places]


def test_a_comparison_broken_off_goes_on_as_planned() -> None:
    strategy = make()
    rows = search(strategy)
    asked = strategy.ask(3)
    strategy.tell([told(asked[0])])
    history: Rows = [*rows, (asked[0], told(asked[0])), (asked[1], None), (asked[2], None)]
    again = restored(make, history, None)
    assert again.ask(2) == asked[1:]
    assert again.ask(9) == strategy.ask(9)


def test_a_trial_of_the_search_left_open_is_asked_beside_a_begun_comparison() -> None:
    strategy = make()
    rows = search(strategy)
    asked = strategy.ask(2)
    history: Rows = [*rows[:3], (rows[3][0], None), *rows[4:], *((p, None) for p in asked)]
    again = restored(make, history, None)
    first, *others = again.ask(9)
    assert first == rows[3][0]
    assert others[:2] == asked
    rest = others[2:]
    assert [p.number for p in rest] == list(range(len(rows) + 2, len(rows) + 7))
    again.tell([told(rows[3][0])])
    assert not again.finished
    again.abandon([p.number for p in asked])
    again.tell([told(p) for p in rest])
    assert again.finished


def test_nothing_to_compare_ends_with_the_search() -> None:
    language = Language(LanguageSettings(groups=1), LISTS)
    inner = RandomStrategy(language, Objective(), 5, Candidate(rule="g"), 0)
    strategy = WithComparison(inner, Objective(), 0, (), 0)
    strategy.tell([told(p) for p in strategy.ask(5)])
    assert strategy.finished


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31 - 10_001])
def test_fresh_seeds_are_seeds_and_far_from_the_search(seed: int) -> None:
    assert Candidate.model_validate({"rule": "g", "seed": fresh_seed(seed)})
    assert abs(fresh_seed(seed) - seed) > 64
    assert fresh_seed(seed) + 64 < 2**31


def test_an_optimizer_of_another_library_is_a_baseline_too() -> None:
    """It is no rule, so nothing found can say the same, and no other library's optimizer does."""
    names = ("pytorch_optimizer.SOAP", "torch.optim.Muon")
    baselines = [(name, Candidate(rule=name, decay="own")) for name in names]
    inner = make().inner
    strategy = WithComparison(inner, LOSS, 2, [*BASELINES, *baselines], SEED)
    search(strategy)
    proposals = strategy.ask(20)
    assert [p.label for p in proposals[2:]] == ["sgd", "momentum", "adamw", *names]
    assert [p.candidate.rule for p in proposals[-2:]] == list(names)
