"""Every task by name. Importing it loads no data and not scikit-learn."""

from workers.tasks.beale import Beale
from workers.tasks.breast_cancer import BreastCancer
from workers.tasks.char_lm import CharLM
from workers.tasks.diabetes import Diabetes
from workers.tasks.digits_conv import DigitsConv
from workers.tasks.digits_mlp import DigitsMLP
from workers.tasks.noisy_quadratic import NoisyQuadratic
from workers.tasks.quadratic import Quadratic
from workers.tasks.random_labels import RandomLabels
from workers.tasks.rosenbrock import Rosenbrock
from workers.tasks.sparse_logistic import SparseLogistic
from workers.tasks.task import Task
from workers.tasks.wine import Wine

_ALL: tuple[Task, ...] = (
    DigitsMLP(),
    DigitsConv(),
    BreastCancer(),
    Wine(),
    Diabetes(),
    CharLM(),
    SparseLogistic(),
    RandomLabels(),
    Beale(),
    Rosenbrock(),
    Quadratic(),
    NoisyQuadratic(),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        ValueError: there is no such task.
    """
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}; allowed: {', '.join(sorted(TASKS))}")
    return TASKS[name]
