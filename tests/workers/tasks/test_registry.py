import subprocess
import sys

import pytest

from workers.tasks.registry import TASKS, find_task


def test_tasks_are_known_by_their_own_names() -> None:
    assert "digits-mlp" in TASKS
    for name, task in TASKS.items():
        assert task.name == name
        assert find_task(name) is task


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no task 'mnist'; allowed: .*digits-mlp"):
        find_task("mnist")


@pytest.mark.parametrize("name", sorted(TASKS))
def test_an_objective_never_names_the_test_split(name: str) -> None:
    metrics = TASKS[name].metrics
    assert "validation_loss" in metrics
    assert not [metric for metric in metrics if metric.startswith("test")]


def test_importing_the_registry_loads_no_data_and_data_load_no_library() -> None:
    code = (
        "import sys\n"
        "from workers.tasks import digits, registry\n"
        "assert not digits.digits.cache_info().currsize\n"
        "assert registry.find_task('digits-mlp').examples('train')\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
