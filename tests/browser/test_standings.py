from dataclasses import replace

import pytest

from dsl.candidate import Stage
from service.web.standings import MARGIN, WIDTH, Board, Mark, Row, board, ranked

ROW = Row(
    rule_id="id",
    rule="g",
    label=None,
    task="digits-mlp",
    stage=Stage.COMPARISON,
    job_id="job",
    number=0,
    metric="validation_loss",
    value=1.0,
    lr=0.1,
    metrics={},
    spread={},
    seeds=3,
    steps=9,
    slots=0,
)


def rows(*values: float) -> list[Row]:
    return [replace(ROW, number=n, value=value) for n, value in enumerate(values)]


def marks(laid: Board) -> list[Mark]:
    return [mark for mark in laid.marks if mark is not None]


def test_rows_are_ranked_by_direction() -> None:
    assert [r.value for r in ranked(rows(2, 1, 3), "minimize")] == [1, 2, 3]
    assert [r.value for r in ranked(rows(2, 1, 3), "maximize")] == [3, 2, 1]


def test_a_positive_scale_is_logarithmic_from_end_to_end() -> None:
    laid = board(rows(1, 8, 64))
    assert [mark.x for mark in marks(laid)] == [MARGIN, WIDTH / 2, WIDTH - MARGIN]


def test_a_scale_through_zero_is_linear() -> None:
    laid = board(rows(-1, 0, 1))
    assert marks(laid)[1].x == pytest.approx(WIDTH / 2)


def test_whiskers_are_one_standard_deviation() -> None:
    low, high = rows(-1, 1)
    spread = replace(high, spread={"validation_loss": 0.5})
    mark = marks(board([low, spread]))[1]
    assert mark.low < mark.x < mark.high == WIDTH - MARGIN


def test_an_awful_row_does_not_squeeze_the_others() -> None:
    laid = board(rows(0.10, 0.11, 0.12, 0.13, 1e6))
    assert laid.high < 1
    assert marks(laid)[4].x == WIDTH - MARGIN
    assert marks(laid)[1].x - marks(laid)[0].x > WIDTH / 10


def test_equal_rows_stand_in_the_middle() -> None:
    assert {mark.x for mark in marks(board(rows(0.5, 0.5)))} == {WIDTH / 2}


def test_the_reference_is_adamw() -> None:
    first, second = rows(1, 2)
    laid = board([first, replace(second, label="adamw")])
    assert laid.reference == marks(laid)[1].x
    assert board([first]).reference is None


def test_columns_are_the_test_figures_that_rows_have() -> None:
    [row] = rows(1)
    assert board([row]).metrics == ()
    assert board([replace(row, metrics={"test_accuracy": 0.9})]).metrics == ("test_accuracy",)


def test_no_rows_make_an_empty_board() -> None:
    assert board([]).rows == ()


def test_what_came_to_nothing_stands_last_without_a_mark() -> None:
    [row] = rows(1)
    nothing = replace(row, number=0, value=None, reason="diverged")
    for direction in ("minimize", "maximize"):
        assert ranked([nothing, row], direction) == [row, nothing]
    laid = board([row, nothing])
    assert laid.marks[0] is not None
    assert laid.marks[1] is None
    assert board([nothing]).rows == (nothing,)


def test_known_optimizers_are_told_from_named_rules() -> None:
    assert replace(ROW, label="adamw").known
    assert not replace(ROW, label="mine").known
