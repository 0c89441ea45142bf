import json
from pathlib import Path

import pytest

from tests.benchmarks.results import kept, record, table


def test_figures_are_kept_below_the_machine_that_made_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.jsonl"
    with kept(path) as results:
        results.benchmark = "speed"
        record("stacked", 12.5, peer="a loop", at_least=12.0, rounds=[12.0, 13.0])
        head, one = map(json.loads, path.read_text().splitlines())  # written at once
        record("floor", 5.0, at_most=4.0)
        record("seconds", 1.0, "s")
    record("after the run", 1.0)
    other = json.loads(path.read_text().splitlines()[2])
    assert len(path.read_text().splitlines()) == 4
    assert {"processor", "cores", "memory_gb", "python", "torch", "ray", "commit"} <= set(
        head["machine"]
    )
    assert (one["benchmark"], one["what"], one["value"], one["met"]) == (
        "speed",
        "stacked",
        12.5,
        True,
    )
    assert one["details"] == {"rounds": [12.0, 13.0]}
    assert other["met"] is False
    lines = table(results.figures).splitlines()
    ends = zip(lines, ("met", "MISSED", " s"), strict=True)
    assert [line.endswith(end) for line, end in ends] == [True] * 3


def test_a_figure_is_a_finite_number(tmp_path: Path) -> None:
    with kept(tmp_path / "run.jsonl"), pytest.raises(ValueError, match="'ratio' is inf"):
        record("ratio", float("inf"))
