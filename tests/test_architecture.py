"""The house stays as it was designed: which room may import which, and where heavy things live."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("dsl", "optimizers", "search", "workers", "service")

MAY_IMPORT = {
    "dsl": {"dsl"},
    "optimizers": {"dsl", "optimizers"},
    "search": {"dsl", "search"},
    "workers": {"dsl", "optimizers", "workers"},
    "service": set(ROOMS),
}

HOMES = {
    "sqlalchemy": ("service/store/",),
    "alembic": ("service/store/",),
    "fastapi": ("service/web/",),
    "starlette": ("service/web/",),
    "ray": (
        "search/tune_searcher.py",
        "workers/trainable.py",
        "workers/driver.py",
        "workers/schedules.py",
        "workers/tuner.py",
        "service/run.py",
        "service/drivers.py",
        "service/cluster.py",
    ),
    "optuna": (
        "search/front.py",
        "search/samplers.py",
        "search/tuning.py",
        "service/importance.py",
    ),
    "sklearn": (),
}

LINES_PER_FILE = 400
LINES_PER_FUNCTION = 60
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}

FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides the room"
            yield node.module or ""


@pytest.mark.parametrize("name", NAMES)
def test_imports_run_one_way(name: str) -> None:
    room = name.split("/")[0]
    for module in imports_of(ROOT / name):
        top = module.split(".")[0]
        if top in ROOMS:
            assert top in MAY_IMPORT[room], f"{name} imports {module}"
        assert top != "tests", f"{name} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_heavy_libraries_stay_at_home(name: str) -> None:
    for module in imports_of(ROOT / name):
        homes = HOMES.get(module.split(".")[0])
        if homes is not None:
            assert name.startswith(homes), f"{name} imports {module}, whose home is {homes}"


@pytest.mark.parametrize("name", NAMES)
def test_files_and_functions_stay_readable(name: str) -> None:
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) <= LINES_PER_FILE
    assert Path(name).stem not in VAGUE
    if "migrations/versions" in name:
        return  # a migration states a whole schema, table after table
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LINES_PER_FUNCTION, f"{name}: {node.name} has {length} lines"


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("__init__.py")])
def test_a_package_file_is_a_docstring(name: str) -> None:
    body = ast.parse((ROOT / name).read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def test_the_face_needs_no_torch() -> None:
    """The client can be imported where torch is not installed."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules.update(torch=None, ray=None, optuna=None, sqlalchemy=None);"
        "from rulesmith import Client; Client('http://127.0.0.1:1')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
