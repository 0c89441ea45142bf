"""Every task by name. Importing it loads no data and not scikit-learn."""

from workers.tasks.digits_mlp import DigitsMLP
from workers.tasks.task import Task

_ALL: tuple[Task, ...] = (DigitsMLP(),)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        ValueError: there is no such task.
    """
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}; allowed: {', '.join(sorted(TASKS))}")
    return TASKS[name]
