import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from dsl.export import to_torch
from service import demo


def trial(number: int, value: float | None, label: str | None = None) -> dict[str, Any]:
    metrics = ("validation_loss", "test_loss", "test_accuracy")
    return {
        "number": number,
        "label": label,
        "rule": f"g * {number}",
        "rule_id": f"g{number}",
        "value": value,
        "reason": None if value is not None else "diverged with fresh seeds",
        "state": "COMPLETE" if value is not None else "INFEASIBLE",
        "lr": 0.1,
        "seeds": 5,
        "metrics": dict.fromkeys(metrics, value),
        "spread": dict.fromkeys(metrics, 0.01),
        "cost_steps": number,
    }


class Answers:
    """The trials that a service would list, whatever the filter."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows, self.filter = rows, ""

    def trials(self, job_id: str, **query: str) -> Iterator[dict[str, Any]]:
        self.filter = query["filter"]
        return iter(self.rows)


def test_what_came_to_nothing_is_listed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(demo, "console", Console(file=printed, width=110))
    named = demo.DISCOVER["comparison"]["baselines"]
    rows = [trial(10 + i, 0.5, name) for i, name in enumerate(named)]
    rows.append(trial(20, 0.6) | {"rule": "a = sign(g)\na * abs(a)"})
    best = demo.leaderboard(
        Answers(trial(1, 0.1), *rows, trial(2, None)),  # type: ignore[arg-type]
        {"id": "job"},
    )
    assert best["number"] == 1
    text = printed.getvalue()
    assert text.index("g * 1 ") < text.index("adamw") < text.index("g * 2")
    assert "g * 2: diverged with fresh seeds" in text
    assert "a = sign(g); a * abs(a) │" in text


def test_near_copies_that_were_left_out_are_counted() -> None:
    searched = [trial(number, 0.1 * number) for number in range(6)]
    compared = [searched[1], searched[4], trial(5, 0.5, "sgd")]
    answers = Answers(*searched)
    assert demo.passed_over(answers, {"id": "job"}, compared) == 3  # type: ignore[arg-type]
    assert "stage = search" in answers.filter


def test_searched_rules_are_told_apart_by_how_they_ended() -> None:
    answers = Answers(trial(0, None), trial(9, None), trial(8, None))
    ends = demo.tally(answers, {"id": "job", "judged": 10})  # type: ignore[arg-type]
    assert ends == {"trained": 7, "rejected before training": 1, "diverged": 2}
    assert "stage = search" in answers.filter


def test_an_exported_file_has_the_function_that_is_shown() -> None:
    assert any(line.startswith("def advance") for line in to_torch("g").splitlines())
