from dataclasses import replace

from service.web.standings import Row
from service.web.unseen import crossing
from tests.browser.test_standings import ROW


def row(rule: str, test: float | None, label: str | None = None) -> Row:
    if test is None:
        return replace(ROW, rule_id=rule, value=None, reason="diverged", label=label)
    return replace(ROW, rule_id=rule, value=9.0, metrics={"test_loss": test}, label=label)


WINE = [row("found", 0.3), row("other", 0.1), row("adamw", 0.2, "adamw")]
DIABETES = [row("adamw", 0.5, "adamw"), row("other", None), row("found", 0.4)]


def test_optimizers_stand_by_their_mean_rank_over_tasks() -> None:
    laid = crossing({"wine": WINE, "diabetes": DIABETES}, "minimize")
    assert laid is not None
    assert (laid.tasks, laid.metric) == (("wine", "diabetes"), "test_loss")
    assert [line.row.rule_id for line in laid.lines] == ["found", "other", "adamw"]
    assert [line.rank for line in laid.lines] == [2.0, 2.0, 2.0]
    assert [line.ahead for line in laid.lines] == [1, 1, None]
    [found] = [line for line in laid.lines if line.row.rule_id == "found"]
    cells = [(cell.value, cell.rank, cell.ahead) for cell in found.cells if cell]
    assert cells == [(0.3, 3, False), (0.4, 1, True)]


def test_larger_is_better_where_the_objective_is_maximised() -> None:
    laid = crossing({"wine": WINE, "diabetes": DIABETES[:1]}, "maximize")
    assert laid is not None
    assert [line.row.rule_id for line in laid.lines] == ["found", "adamw", "other"]
    assert [line.ahead for line in laid.lines] == [1, None, 0]
    assert laid.lines[0].cells[1] is None, "it has not met that task"


def test_who_came_to_nothing_is_last_and_beaten() -> None:
    failed = [row("found", 0.3), row("adamw", None, "adamw"), row("other", None)]
    laid = crossing({"wine": failed, "diabetes": DIABETES}, "minimize")
    assert laid is not None
    by_rule = {
        line.row.rule_id: [(c.rank, c.ahead) for c in line.cells if c] for line in laid.lines
    }
    assert by_rule == {
        "found": [(1, True), (1, True)],
        "adamw": [(2, False), (2, False)],
        "other": [(2, False), (3, False)],
    }


def test_one_task_needs_no_crossing() -> None:
    assert crossing({"wine": WINE}, "minimize") is None
    assert crossing({}, "minimize") is None
