import importlib.util

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from workers.tasks.tables import table


def test_tables_are_what_scikit_learn_reads() -> None:
    diabetes = load_diabetes(return_X_y=True, scaled=False)
    for name, options, (features, targets) in (
        ("digits.csv.gz", {}, load_digits(return_X_y=True)),
        ("wine_data.csv", {"header": 1}, load_wine(return_X_y=True)),
        ("breast_cancer.csv", {"header": 1}, load_breast_cancer(return_X_y=True)),
    ):
        found = table(name, **options)
        assert torch.equal(found[:, :-1], torch.from_numpy(features)), name
        assert found[:, -1].tolist() == targets.tolist(), name
    found = table("diabetes_data_raw.csv.gz", delimiter=None)
    assert torch.equal(found, torch.from_numpy(diabetes[0]))
    assert torch.equal(table("diabetes_target.csv.gz"), torch.from_numpy(diabetes[1]))


def test_without_scikit_learn_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.tasks.tables.find_spec", lambda name: None)
    assert importlib.util.find_spec("sklearn") is not None
    with pytest.raises(ModuleNotFoundError, match="scikit-learn, which is not installed; install"):
        table("digits.csv.gz")
