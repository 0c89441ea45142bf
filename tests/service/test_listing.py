"""Lists keep ids and figures whole at any width."""

import io
from typing import Any

import pytest
from rich.console import Console

from service import terminal
from service.listing import Listing, show

RULE = (
    "base ^ (decay * sign(g) * sign(ema(g, beta))) * (sqrt(abs(g)) + 0.001 * sign(m) / (v + eps))"
)
ROWS: list[dict[str, Any]] = [
    {
        "rule_id": f"{number:012x}",
        "rule": RULE,
        "label": None,
        "task": task,
        "metric": "validation_accuracy",
        "value": 0.9123,
        "spread": {"validation_accuracy": 0.01234},
        "metrics": {"test_accuracy": 0.9012},
        "lr": 2.512e-05,
        "seeds": 5,
        "steps": 20000,
    }
    for number, task in enumerate(("digits-mlp", "breast-cancer"), 0xABCDEF123456)
]
TRIAL = {"number": 12345, "value": 0.1234, "lr": 2.512e-05, "rule_id": "abcdef123456",
         "rule": RULE, "parameters": {}}  # fmt: skip


def printed(listing: Listing, width: int, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    show(Console(file=out, width=width, force_terminal=terminal, no_color=True,
                 color_system=None), listing)  # fmt: skip
    return out.getvalue().splitlines()


def whole(lines: list[str]) -> str:
    """Return the text without the breaks that folding put in."""
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("count", [1, 2])
def test_the_leaderboard_shows_every_figure_and_the_whole_rule(width: int, count: int) -> None:
    lines = printed(terminal.standings_listing(ROWS[:count]), width)
    text = whole(lines)
    for row in ROWS[:count]:
        for figure in (row["rule_id"], "0.9123", "0.01234", "0.9012", "2.512e-05", "5", "20000"):
            assert figure in text.split(), (figure, lines)
    assert "".join(text.split()).count("".join(RULE.split())) == count
    assert "…" not in text
    if width >= 100 or (width == 80 and count == 1):
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("kind", ["tune", "discover"])
def test_the_best_trials_fit_80_columns(kind: str) -> None:
    trial = TRIAL | {"parameters": {f"beta{i}": 0.123456 for i in range(9)}}
    lines = printed(terminal.trials_listing([trial], kind), 80)
    assert max(map(len, lines)) <= 80
    for figure in ("12345", "0.1234", "2.512e-05", "abcdef123456"):
        assert figure in whole(lines).split()
    wanted = RULE if kind == "discover" else ", ".join(f"beta{i}=0.1235" for i in range(9))
    assert "".join(wanted.split()) in "".join(whole(lines).split())


def test_a_list_of_one_line_each_is_elided_on_a_terminal_alone() -> None:
    listing = Listing(("name", "lr", "rule"), [("adam", "0.001", RULE)], one_line=True)
    _, line = printed(listing, 60)
    assert line.startswith("adam")
    assert line.endswith("…")
    assert len(line) == 60
    assert printed(listing, 60, terminal=False)[1].endswith(RULE)


def test_without_a_terminal_every_row_is_one_whole_line() -> None:
    lines = printed(terminal.standings_listing(ROWS), 40, terminal=False)
    assert len(lines) == 3
    assert all(line.endswith(RULE) for line in lines[1:])


def test_a_text_with_brackets_is_no_markup() -> None:
    listing = Listing(("id", "name"), [("1", "[red]a job[/red]")])
    assert printed(listing, 80)[1] == "1   [red]a job[/red]"
