"""One model at a time: the same training as a population's row, by any optimizer."""

import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.optim import Optimizer

from dsl.candidate import Candidate, Proposal, ScheduleSpec, Stage
from dsl.outcome import Outcome, TrialState
from optimizers.library import LIBRARY, LibraryEntry
from workers.batches import batch_order
from workers.evaluation import judge
from workers.plan import plan
from workers.population import RowResult, train_population
from workers.protocol import Evaluation, Protocol, SuccessiveHalving, TaskSpec
from workers.tasks.registry import TASKS
from workers.tasks.task import Examples, Model, Split, Task

TASK = TASKS["digits-mlp"]
COSINE = ScheduleSpec(name="cosine")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As workers have it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's own SGD and AdamW be optimizers of a library, though rules say them too."""
    for cls in ("SGD", "AdamW"):
        entry = LibraryEntry(f"plain_{cls}", "torch.optim", cls, 0.1, "")
        monkeypatch.setitem(LIBRARY, entry.name, entry)


def named(name: str, lr: float | None = None, **rest: object) -> Candidate:
    entry = LIBRARY[name]
    own = {"decay": "none"} if entry.weight_decay is None else {
        "decay": "own", "weight_decay": entry.weight_decay}  # fmt: skip
    return Candidate(rule=entry.path, lr=entry.lr if lr is None else lr, **{**own, **rest})


def train(candidates: list[Candidate], steps: int = 40, **options: object) -> list[RowResult]:
    return train_population(TASK, candidates, Protocol(steps=steps), keep_weights=True, **options)


def judged(candidates: list[Candidate], protocol: Protocol) -> list[Outcome]:
    evaluation = Evaluation(task=TaskSpec(name=TASK.name), protocols={Stage.SEARCH: protocol})
    return judge(evaluation, [Proposal(number=i, candidate=c) for i, c in enumerate(candidates)])


def by_hand(
    optimizer_of: Callable[[nn.Module], Optimizer], steps: int, seed: int
) -> tuple[nn.Module, Optimizer]:
    """The loop that anybody would write, in float64."""
    module = TASK.initial(seed).double()
    optimizer = optimizer_of(module)
    inputs, targets = TASK.examples("train")
    for batch in batch_order(seed, len(inputs), 64, steps):
        optimizer.zero_grad()
        TASK.loss(module, (inputs[batch].double(), targets[batch])).backward()
        optimizer.step()
    return module, optimizer


def equal(result: RowResult, module: nn.Module) -> None:
    assert result.weights is not None
    for name, value in module.named_parameters():
        torch.testing.assert_close(result.weights[name], value.detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("row", "single"),
    [
        (
            Candidate(rule="g", lr=0.5, seed=3),
            Candidate(rule="torch.optim.SGD", lr=0.5, seed=3),
        ),
        (
            Candidate(rule="trace(g, mu)", lr=0.1, hyperparameters={"mu": 0.8}, schedule=COSINE,
                      decay="l2", weight_decay=0.01),
            Candidate(rule="torch.optim.SGD", lr=0.1, hyperparameters={"momentum": 0.8},
                      schedule=COSINE, decay="own", weight_decay=0.01),
        ),
        (
            Candidate(rule="adam", lr=0.01, hyperparameters={"beta2": 0.9}, schedule=COSINE,
                      decay="decoupled", weight_decay=0.1, seed=1),
            Candidate(rule="torch.optim.AdamW", lr=0.01, hyperparameters={"beta2": 0.9},
                      schedule=COSINE, decay="own", weight_decay=0.1, seed=1),
        ),
    ],
)  # fmt: skip
def test_the_same_optimizer_is_the_same_row(row: Candidate, single: Candidate) -> None:
    stacked, alone = train([row, single], dtype=torch.float64)
    assert (stacked.one_by_one, alone.one_by_one) == (False, True)
    assert stacked.state is alone.state is TrialState.COMPLETE
    assert stacked.slots == alone.slots
    for name, value in stacked.weights.items():
        torch.testing.assert_close(alone.weights[name], value, rtol=1e-9, atol=1e-11)
    assert [point.step for point in alone.curve] == [point.step for point in stacked.curve]
    for one, other in zip(alone.curve, stacked.curve, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-9)


@pytest.mark.usefixtures("plain")
def test_a_row_diverges_at_the_step_at_which_a_population_sees_it() -> None:
    wild = [Candidate(rule=rule, lr=300.0) for rule in ("g", "torch.optim.SGD")]
    stacked, alone = train(wild, dtype=torch.float64)
    assert stacked.state is alone.state is TrialState.INFEASIBLE
    assert (alone.step, alone.reason) == (stacked.step, stacked.reason)
    assert "over the bound" in (alone.reason or "")


def test_muon_trains_matrices_itself_and_vectors_by_adamw() -> None:
    candidate = named("muon", 0.05, seed=2, hyperparameters={"adamw_lr": 0.01, "ns_steps": 3.0,
                                                             "adamw_beta1": 0.8})  # fmt: skip
    result = train([candidate], 12, dtype=torch.float64)[0]

    def optimizer_of(module: nn.Module) -> Optimizer:
        split = [{"params": [p for p in module.parameters() if (p.ndim == 2) is matrices],
                  "use_muon": matrices} for matrices in (True, False)]  # fmt: skip
        return pytorch_optimizer.Muon(
            split, lr=0.05, ns_steps=3, adamw_lr=0.01, adamw_betas=(0.8, 0.95)
        )

    equal(result, by_hand(optimizer_of, 12, 2)[0])


def test_schedule_free_is_measured_where_it_evaluates() -> None:
    candidate = named("schedule_free_adamw", 0.01, seed=4)
    result = train([candidate], 30, dtype=torch.float64, points=1)[0]

    def optimizer_of(module: nn.Module) -> Optimizer:
        optimizer = pytorch_optimizer.ScheduleFreeAdamW(module.parameters(), lr=0.01)
        optimizer.train()
        return optimizer

    module, optimizer = by_hand(optimizer_of, 30, 4)
    at_training_point = TASK.measure(module, _validation())["loss"].item()
    optimizer.eval()
    equal(result, module)
    loss = TASK.measure(module, _validation())["loss"].item()
    assert result.metrics["validation_loss"] == pytest.approx(loss, rel=1e-9)
    assert abs(loss - at_training_point) > 1e-3


def _validation() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = TASK.examples("validation")
    return inputs.double(), targets


def test_an_optimizer_that_evaluates_again_gets_its_closure() -> None:
    result = train([named("lbfgs", 0.1, hyperparameters={"max_iter": 4.0})], 20)[0]
    assert result.state is TrialState.COMPLETE
    assert result.curve[-1].metrics["train_loss"] < 0.5 * result.curve[0].metrics["train_loss"]


@pytest.mark.parametrize("name", ["kron", "soap", "prodigy", "schedule_free_sgd"])
def test_a_row_depends_on_its_candidate_alone(name: str) -> None:
    # Kron draws from torch's and NumPy's own generators.
    candidate = named(name, 1.0 if name == "prodigy" else 0.01, seed=5)
    if name == "kron":
        candidate = candidate.with_values({"balance_prob": 0.5})
    others = [Candidate(rule="drop(g, 0.5)", lr=0.1), named("kron", seed=1)]
    torch.manual_seed(1)
    np.random.seed(1)
    outside = torch.get_rng_state(), np.random.get_state()[1].copy()
    alone = train([candidate], 25)[0]
    assert torch.equal(torch.get_rng_state(), outside[0])
    assert (np.random.get_state()[1] == outside[1]).all()
    torch.manual_seed(2)
    np.random.seed(2)
    among = train([others[0], others[1], candidate], 25)[2]
    pruner = SuccessiveHalving(reduction=2, min_steps=24)
    paused = train_population(
        TASK, [candidate, others[1]], Protocol(steps=25, pruner=pruner), families=[0, 0]
    )[0]
    assert alone.curve == among.curve
    assert all(torch.equal(value, among.weights[key]) for key, value in alone.weights.items())
    if not LIBRARY[name].modes:  # there each measurement moves the weights and back, and rounds
        assert paused.metrics["validation_loss"] == alone.metrics["validation_loss"]


def test_singles_and_rows_are_halved_together() -> None:
    candidates = [named("prodigy", 1.0), Candidate(rule="g", lr=1e-5), named("soap", 1e-7)]
    candidates.append(Candidate(rule="g", lr=0.5))
    pruner = SuccessiveHalving(reduction=2, min_steps=20)
    results = train_population(TASK, candidates, Protocol(steps=40, pruner=pruner))
    assert [(each.state.value, each.step) for each in results] == [
        ("COMPLETE", 40),
        ("PRUNED", 20),
        ("PRUNED", 20),
        ("COMPLETE", 40),
    ]
    assert list(plan(candidates, 8)) == [[1, 3]]


@pytest.mark.parametrize(
    ("name", "lr"),
    [("muon", 0.02), ("soap", 0.01), ("prodigy", 1.0), ("schedule_free_adamw", 0.02)],
)
def test_library_optimizers_learn_the_digits(name: str, lr: float) -> None:
    outcome = judged([named(name, lr, schedule=COSINE)], Protocol(steps=150, test=True))[0]
    assert outcome.state is TrialState.COMPLETE
    assert outcome.one_by_one
    assert outcome.metrics["validation_accuracy"] > 0.9
    assert outcome.metrics["test_accuracy"] > 0.9
    assert outcome.step == outcome.cost_steps == 150
    assert outcome.slots == {"muon": 1, "soap": 7, "prodigy": 4, "schedule_free_adamw": 2}[name]


def test_the_grid_and_the_seeds_are_the_protocols() -> None:
    protocol = Protocol(steps=20, grid_steps=10, learning_rates=(1e-4, 1e-2, 1e6), seeds=2)
    candidate = named("soap", 1.0).model_copy(update={"lr": None})
    soap, sgd = judged([candidate, Candidate(rule="g", lr=0.1)], protocol)
    assert (soap.lr, soap.seeds, soap.step) == (1e-2, 2, 20)
    assert (soap.one_by_one, sgd.one_by_one) == (True, False)
    rows = [candidate.model_copy(update={"lr": 1e-2, "seed": seed}) for seed in (0, 1)]
    losses = [result.metrics["validation_loss"] for result in train(rows, 20)]
    assert soap.by_seed["validation_loss"] == tuple(losses)
    # the loop's cost is its own: a stacked row's steps are cheaper by far
    assert soap.cost_seconds / soap.cost_steps > sgd.cost_seconds / sgd.cost_steps > 0


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (named("muon_matrices"), "2D"),
        (named("adamax", -1.0), "Invalid learning rate: -1.0"),
        (named("soap", hyperparameters={"beta1": 1.5}), r"beta.*\[0.0, 1.0\)"),
        (named("soap", hyperparameters={"beta": 0.5}), "'soap' has no option 'beta'; allowed:"),
        (named("muon", hyperparameters={"ns_steps": 2.5}), "ns_steps = 2.5, but it must be"),
        (named("soap", decay="decoupled"), "decay is 'own' or 'none', not 'decoupled'"),
        (named("rprop", decay="own", weight_decay=0.1), "'rprop' has no weight decay"),
        (Candidate(rule="os.system", lr=0.1), "no library optimizer 'os.system'; allowed: pyt"),
    ],
)  # fmt: skip
def test_what_cannot_train_is_infeasible_with_its_reason(candidate: Candidate, reason: str) -> None:
    outcome = judged([candidate], Protocol(steps=5))[0]
    assert outcome.state is TrialState.INFEASIBLE
    assert re.search(reason, outcome.reason or ""), outcome.reason
    assert outcome.cost_steps == 0


@pytest.mark.parametrize("name", ["muon", "soap", "kron", "shampoo", "prodigy", "lbfgs"])
def test_a_rate_far_too_high_is_the_candidates_fault(name: str) -> None:
    outcome = judged([named(name, 1e30)], Protocol(steps=30))[0]
    assert outcome.state is TrialState.INFEASIBLE
    assert "at step" in (outcome.reason or "")
    assert outcome.one_by_one


class Kink(Task):
    """Its first loss is finite and its first gradient is not."""

    name = "kink"
    description = "the norm of a matrix, from zero"

    def module(self) -> nn.Module:
        net = nn.Linear(4, 4, bias=False)
        nn.init.zeros_(net.weight)
        return net

    def examples(self, split: Split) -> Examples:
        return ()

    def loss(self, model: Model, batch: Examples) -> torch.Tensor:
        return model(torch.eye(4)).square().sum().sqrt()


def test_an_optimizer_that_gives_up_is_a_candidate_that_diverged() -> None:
    soap, sgd = train_population(Kink(), [named("soap"), named("asgd")], Protocol(steps=9))
    assert soap.state is sgd.state is TrialState.INFEASIBLE
    assert (soap.reason or "").startswith("the optimizer cannot go on (linalg.eigh")
    assert (soap.step, soap.metrics, sgd.step) == (0, {}, 1)


def test_a_library_that_is_not_there_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pytorch-optimizer"):
        judged([Candidate(rule="pytorch_optimizer.SOAP", lr=0.1)], Protocol(steps=5))
