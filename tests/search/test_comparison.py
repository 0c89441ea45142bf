import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome, TrialState
from search.comparison import WithComparison, fresh_seed
from search.discovery import RandomStrategy
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


def test_rules_that_behave_alike_are_compared_once() -> None:
    class Given:
        """A search that is over once it is told: these rules, each as good as its place."""

        finished = False
        rules = ("2 * g", "exp(g) * exp(w)", "exp(g + w)", "trace(g, 0.9) / 3", "adam", "sign(g)")

        def ask(self, count: int) -> list[Proposal]:
            candidates = [Candidate(rule=rule, seed=SEED) for rule in self.rules]
            asked = [Proposal(number=i, candidate=c) for i, c in enumerate(candidates)]
            return [] if self.finished else asked

        def tell(self, outcomes: list[Outcome]) -> None:
            self.finished = True

    strategy = WithComparison(Given(), LOSS, 3, BASELINES, SEED)  # type: ignore[arg-type]
    found = [
        Outcome(number=p.number, state=TrialState.COMPLETE, metrics={"validation_loss": p.number})
        for p in strategy.ask(6)
    ]
    strategy.tell(found)
    rules = [proposal.candidate.rule for proposal in strategy.ask(6)]
    # adam without decay is not adamw
    assert rules[:3] == ["exp(g) * exp(w)", "adam", "sign(g)"]


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
    sound = [loss(p) for p, o in rows if o is not None and o.metrics and p.candidate.rule != "g"]
    best = [loss(p) for p in strategy.ask(9) if p.label is None]
    assert best == sorted(sound, reverse=True)[:4]


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
