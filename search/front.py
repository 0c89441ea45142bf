"""The trials of a search for several objectives that no other trial beats in all of them."""

from collections.abc import Sequence
from typing import Literal

import optuna
from optuna.trial import create_trial


def front(
    values: Sequence[Sequence[float]], directions: Sequence[Literal["minimize", "maximize"]]
) -> list[int]:
    """Return the indices of the Pareto front, in order of the first objective, the best first.

    Args:
        values: One row for each trial, one column for each objective.
        directions: Of the columns.
    """
    study = optuna.create_study(directions=list(directions))
    study.add_trials([create_trial(values=list(row)) for row in values])
    sign = 1.0 if directions[0] == "minimize" else -1.0
    found = [trial.number for trial in study.best_trials]
    return sorted(found, key=lambda i: (sign * values[i][0], i))
