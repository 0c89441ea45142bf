"""The convex tasks reach optima that are known from elsewhere.

Where an optimum is published for all examples of a data set, the task's own model and loss are
trained on all of them, with the L2 penalty as weight decay.
"""

import math

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from dsl.candidate import Candidate
from workers.population import train_population
from workers.protocol import Protocol
from workers.tasks.breast_cancer import BreastCancer
from workers.tasks.diabetes import Diabetes
from workers.tasks.digits_mlp import DigitsMLP
from workers.tasks.registry import TASKS
from workers.tasks.sparse_logistic import SparseLogistic
from workers.tasks.task import Examples, Split, Stacked, Task

MOMENTUM = "trace(g, mu)"


def optimum(task: Task, lr: float, mu: float, steps: int, penalty: float = 0.0) -> float:
    """Return the penalised loss on the whole train split after full batches of momentum."""
    candidate = Candidate(
        rule=MOMENTUM, lr=lr, hyperparameters={"mu": mu}, decay="l2", weight_decay=penalty
    )
    examples = tuple(
        value.double() if value.is_floating_point() else value for value in task.examples("train")
    )
    protocol = Protocol(steps=steps, batch_size=len(examples[0]))
    options = {"dtype": torch.float64, "points": 1, "keep_weights": True}
    (result,) = train_population(task, [candidate], protocol, **options)
    assert result.weights is not None
    model = task.initial(0).double()
    model.load_state_dict(result.weights)
    squares = sum(float(value.square().sum()) for value in result.weights.values())
    with torch.no_grad():
        return float(task.loss(model, examples)) + penalty / 2 * squares


def standard(values: Tensor) -> Tensor:
    return (values - values.mean(0)) / values.std(0, unbiased=False)


class AllTumours(BreastCancer):
    def examples(self, split: Split) -> Examples:
        features, labels = load_breast_cancer(return_X_y=True)
        return standard(torch.from_numpy(features)), torch.from_numpy(labels).double()


class AllPatients(Diabetes):
    def examples(self, split: Split) -> Examples:
        features, targets = load_diabetes(return_X_y=True)
        return standard(torch.from_numpy(features)), torch.from_numpy(targets)


class Softmax(DigitsMLP):
    def module(self) -> nn.Module:
        return nn.Linear(64, 10)

    def stacked(self) -> Stacked | None:
        return None

    def examples(self, split: Split) -> Examples:
        pixels, digits = load_digits(return_X_y=True)
        return torch.from_numpy(pixels) / 16, torch.from_numpy(digits)


def test_breast_cancer_standardised_reaches_its_optimum() -> None:
    found = optimum(AllTumours(), lr=1.0, mu=0.85, steps=300, penalty=0.01)
    assert found == pytest.approx(0.100446303781207, abs=1e-10)


def test_digits_softmax_reaches_its_optimum() -> None:
    found = optimum(Softmax(), lr=0.35, mu=0.88, steps=350, penalty=0.01)
    assert found == pytest.approx(0.7410569338310152, abs=1e-10)


def test_diabetes_reaches_least_squares() -> None:
    found = optimum(AllPatients(), lr=0.45, mu=0.85, steps=300)
    assert found == pytest.approx(2859.6963475867506, rel=1e-10)


def test_the_diabetes_task_reaches_least_squares_on_its_own_split() -> None:
    task = TASKS["diabetes"]
    features, targets = (value.double() for value in task.examples("train"))
    ones = torch.ones(len(features), 1, dtype=torch.float64)
    columns = torch.cat([features, ones], 1)
    solution = torch.linalg.lstsq(columns, targets.unsqueeze(1)).solution
    expected = float((columns @ solution - targets.unsqueeze(1)).square().mean())
    assert optimum(task, lr=0.45, mu=0.85, steps=300) == pytest.approx(expected, rel=1e-10)
    assert expected < 0.55


def test_sparse_logistic_reaches_its_optimum() -> None:
    task, penalty = SparseLogistic(), 0.01
    features, labels = (value.double() for value in task.examples("train"))
    # scikit-learn leaves the bias out of the penalty, so it gets a column and no bias
    columns = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    reference = LogisticRegression(
        C=1 / (penalty * len(labels)), fit_intercept=False, solver="newton-cholesky", tol=1e-12
    ).fit(columns.numpy(), labels.numpy())
    weights = torch.from_numpy(reference.coef_[0])
    logits = columns @ weights
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    expected = float(loss + penalty / 2 * weights.square().sum())
    found = optimum(task, lr=0.8, mu=0.85, steps=300, penalty=penalty)
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0.2 < found < math.log(2)
