"""Points and fronts on the command line, against a real service."""

from pathlib import Path

import pytest

from service.jobs import TuneJob
from tests.service.test_cli import Shell, live, shell  # noqa: F401 - fixtures
from tests.service.web.conftest import TUNE, Live
from tests.service.web.test_objectives import BODY, searched


def test_points_are_enqueued_by_name_and_by_file(
    shell: Shell,  # noqa: F811
    live: Live,  # noqa: F811
    tmp_path: Path,
) -> None:
    job = live.submit(TUNE)
    live.claim()
    status, out, err = shell("enqueue", job[:6], "lr=1e-2", "weight_decay=0.1")
    assert (status, out.strip()) == (0, f"{job} is RUNNING and tries 1 point next"), err
    file = tmp_path / "points.yaml"
    file.write_text("- {lr: 0.5}\n- {weight_decay: 1e-3}\n")
    assert shell.json("enqueue", job, "--file", str(file))["id"] == job
    spec = live.store.job(job).spec
    assert isinstance(spec, TuneJob)
    assert spec.enqueue == ({"lr": 0.01, "weight_decay": 0.1}, {"lr": 0.5}, {"weight_decay": 0.001})


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "give a point"),
        (("lr=0.1", "--file", "points.json"), 2, "give a point"),
        (("lr",), 2, "'lr' is no value; write, say, lr=0.01"),
        (("lr=",), 2, "'lr=' is no value"),
        (("lr=.inf",), 2, "the point holds what JSON cannot say"),
        (("lr=0.1", "lr=0.2"), 2, "lr has two values"),
        (("lr=3",), 1, "lr cannot be 3; allowed: from 1e-05 to 1"),
        (("lr=high",), 1, "lr cannot be high"),
    ],
)
def test_what_is_no_point_is_refused(
    shell: Shell,  # noqa: F811
    live: Live,  # noqa: F811
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    found, _, err = shell("enqueue", live.submit(TUNE), *arguments)
    assert found == status
    assert words in err


def test_the_front_is_printed_and_taken_home(
    shell: Shell,  # noqa: F811
    live: Live,  # noqa: F811
    tmp_path: Path,
) -> None:
    job = searched(live, BODY)
    status, out, _ = shell("front", job[:6])
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["trial", "validation_loss", "cost_seconds", "parameters"]
    assert lines[1].split() == ["1", "0.2", "2", "lr=0.1,", "weight_decay=0.01"]
    assert len(lines) == 4
    aims = "minimize validation_loss, minimize cost_seconds, validation_accuracy >= 0.5"
    shown = shell("show", job)[1]
    assert f"digits-mlp: {aims}" in shown
    best = next(line for line in shown.splitlines() if line.startswith("trial  "))
    assert best.split()[:4] == ["trial", "value", "cost_seconds", "validation_accuracy"]
    assert [each["values"][0] for each in shell.json("front", job)["items"]] == [0.2, 0.5, 0.6]
    _, table, _ = shell("front", job, "--csv")
    file = tmp_path / "front.csv"
    assert shell("front", job, "-o", str(file))[0] == 0
    assert file.read_text() == table
    assert table.startswith("trial,validation_loss,cost_seconds,lr,weight_decay\n1,0.2,2.0,")
    other = live.submit(TUNE)
    status, _, err = shell("front", other)
    assert (status, "has one objective" in err) == (1, True)
    assert shell("front", live.submit(BODY))[1].strip() == ("No trial is complete yet.")
