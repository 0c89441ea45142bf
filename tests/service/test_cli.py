"""The command line against a real service: output, exit status, sentences for errors."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import cli
from service.client import Client
from service.evaluations import evaluation_of
from service.jobs import JOB_SPEC
from service.resources import JobState
from tests.service.web.conftest import DISCOVER, TUNE, Live, outcome, proposal
from workers.evaluation import judge


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    service = Live(tmp_path)
    yield service
    service.stop()


class Shell:
    """Runs the command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["rulesmith", *arguments])
        try:
            cli.main()
            status: Any = 0
        except SystemExit as end:
            status = end.code
        captured = self.capsys.readouterr()
        return int(status or 0), captured.out, captured.err

    def json(self, *arguments: str) -> Any:
        status, out, err = self(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def shell(live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("RULESMITH_URL", live.url)
    return Shell(capsys, monkeypatch)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(TUNE))
    return path


def finish(live: Live, state: JobState = JobState.SUCCEEDED) -> None:
    claim = live.claim()
    live.store.record_asked(claim, [proposal(0, "sign(g)", lr=0.1, weight_decay=0.1)])
    live.store.record_told(claim, [outcome(0, 0.25)], None)
    error = "it broke [here]" if state is JobState.FAILED else None
    live.store.finish(claim, state, error)


def test_a_job_is_submitted_listed_shown_and_steered(
    shell: Shell, live: Live, job_file: Path
) -> None:
    status, out, _ = shell("submit", str(job_file))
    assert status == 0
    job = out.split()[0]
    assert f"{live.url}/jobs/{job}" in out.replace("\n", "")
    assert shell.json("show", job)["job"]["state"] == "QUEUED"
    for action, state in (("pause", "PAUSED"), ("resume", "QUEUED")):
        assert f"{job} is {state}" in shell(action, job)[1]
    finish(live)
    assert [found["id"] for found in shell.json("jobs")] == [job]
    listed = shell("jobs", "--filter", "state = SUCCEEDED")[1]
    assert job in listed
    assert "0.25" in listed
    shown = shell("show", job)[1]
    assert "lr=0.1" in shown
    assert "1 of 200" in shown
    assert shell("cancel", job)[0] == 1


def test_yaml_is_taken_with_its_exponents(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "kind: tune\nname: from yaml\ntask: {name: digits-mlp}\noptimizer: adamw\n"
        "space:\n  lr: {type: float, low: 1e-5, high: 1, log: true}\nbudget: {trials: 20}\n"
    )
    job = shell.json("submit", str(path))
    assert job["spec"]["space"]["lr"]["low"] == 1e-5
    assert shell("submit", "--check", str(path))[:2] == (0, f"{path} is a valid job\n")
    assert len(shell.json("jobs")) == 1


@pytest.mark.parametrize(
    ("state", "status"),
    [(JobState.SUCCEEDED, 0), (JobState.FAILED, 1), (JobState.CANCELLED, 1)],
)
def test_watching_ends_with_the_job_and_its_status(
    shell: Shell, live: Live, state: JobState, status: int
) -> None:
    job = live.submit(TUNE)
    finish(live, state)
    code, out, _ = shell("watch", job)
    assert code == status
    assert state.value in out
    assert ("it broke [here]" in out) == (state is JobState.FAILED)
    code, out, _ = shell("watch", job, "--json")
    assert code == status
    assert [json.loads(line)["seq"] for line in out.splitlines()] == list(
        range(1, len(out.splitlines()) + 1)
    )


def test_submit_and_watch_in_one(shell: Shell, live: Live, job_file: Path) -> None:
    import threading
    import time

    def run() -> None:
        while not live.store.jobs().items:
            time.sleep(0.05)
        finish(live)

    thread = threading.Thread(target=run)
    thread.start()
    status, out, _ = shell("submit", str(job_file), "--watch")
    thread.join(10)
    assert status == 0
    assert "SUCCEEDED" in out


def test_rules_and_exports(shell: Shell, live: Live, tmp_path: Path) -> None:
    assert "No rule" in shell("rules")[1]
    job = live.submit(DISCOVER)
    finish(live)
    row = shell.json("rules", "--job", job)[0]
    assert row["value"] == 0.25
    assert shell.json("rules", "--job", "another") == []
    assert "signsgd" in shell("rules")[1]
    target = tmp_path / "rule.py"
    status, out, err = shell("export", row["rule_id"], "-o", str(target))
    assert (status, out) == (0, "")
    assert "wrote" in err
    compile(target.read_text(), "rule.py", "exec")
    assert "class" in shell("export", "adamw")[1]
    assert "\\" in shell("export", "adam", "--format", "latex")[1]


def test_what_can_be_named(shell: Shell) -> None:
    assert "adam" in [entry["name"] for entry in shell.json("optimizers")]
    assert "digits-mlp" in [task["name"] for task in shell.json("tasks")]
    assert "powersign" in shell("optimizers")[1]
    assert "digits-mlp" in shell("tasks")[1]


def test_a_refused_job_names_its_fields(shell: Shell, tmp_path: Path, live: Live) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**TUNE, "optimizer": "adamx", "budget": {"trials": 0}}))
    before = live.dump()
    status, out, err = shell("submit", str(path))
    assert (status, out) == (1, "")
    assert "#/optimizer: there is no optimizer 'adamx'" in err
    assert "#/budget/trials" in err
    assert live.dump() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[1]", "not an object"),
        (b"{", "no valid JSON, line 1, column 2: expecting property name"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"a: 2001-01-01", "JSON cannot say"),
        (b"a: .inf", "JSON cannot say"),
        (b"!!python/object/apply:os.system ['true']", "no tags"),
        (b"kind: tune\nname: a: b", "no valid YAML, line 2, column 8: mapping values"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "not an object"),
        (b"a: &a [*a]", "JSON cannot say"),
    ],
)
def test_a_file_that_is_no_job_is_wrong_use(
    shell: Shell, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    status, out, err = shell("submit", str(path))
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_wrong_use_is_status_2(shell: Shell, tmp_path: Path) -> None:
    assert shell("submit", str(tmp_path / "none.json"))[0] == 2
    assert shell("fly")[0] == 2
    assert shell("jobs", "--url", "nowhere")[0] == 2
    assert shell("export", "adam", "-o", str(tmp_path / "no" / "folder.py"))[0] == 2


def test_a_refusal_is_status_1(shell: Shell) -> None:
    for arguments in (("show", "none"), ("watch", "none"), ("export", "adam", "--format", "c"),
                      ("jobs", "--filter", "colour = RED")):  # fmt: skip
        status, out, err = shell(*arguments)
        assert (status, out) == (1, ""), arguments
        assert err.startswith("error: 4")


def test_no_service_is_status_3(shell: Shell) -> None:
    status, out, err = shell("jobs", "--url", "http://127.0.0.1:9")
    assert (status, out) == (3, "")
    for words in ("rulesmith serve", "--url", "RULESMITH_URL", "http://127.0.0.1:9"):
        assert words in err


def test_the_port_of_the_environment_is_the_default(
    shell: Shell, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RULESMITH_URL")
    monkeypatch.setenv("RULESMITH_PORT", live.url.rpartition(":")[2])
    assert shell.json("jobs") == []
    assert Client().url == live.url
    assert shell("jobs", "--url", "http://127.0.0.1:9")[0] == 3
    for port in ("0", "a", "70000"):
        monkeypatch.setenv("RULESMITH_PORT", port)
        status, _, err = shell("jobs")
        assert status == 2
        assert f"RULESMITH_PORT is '{port}'" in err


def test_the_beginning_of_an_id_will_do_where_it_is_the_only_one(shell: Shell, live: Live) -> None:
    job = live.submit(DISCOVER)
    finish(live)
    rule = shell.json("rules")[0]["rule_id"]
    assert shell.json("show", job[:6])["job"]["id"] == job
    assert shell("watch", job[:6])[0] == 0
    assert shell("export", rule[:6])[1] == shell("export", rule)[1]
    # Of 17 ids two begin alike.
    jobs = [job, *(live.submit(TUNE) for _ in range(16))]
    first = next(c for c in "0123456789abcdef" if sum(j[0] == c for j in jobs) > 1)
    status, out, err = shell("show", first)
    assert (status, out) == (2, "")
    assert f"jobs begin with '{first}'" in err
    assert "give more" in err
    for command in ("show", "export"):
        assert shell(command, "0123456789ab")[0] == 1
    assert live.http.get(f"/jobs/{job[:6]}").status_code == 404


REPLAYED = {
    **DISCOVER,
    "protocol": {"learning_rates": [0.01, 0.1], "grid_steps": 3, "steps": 6, "seeds": 2},
}


def test_a_trial_is_replayed_to_the_digit(shell: Shell, live: Live) -> None:
    job = live.submit(REPLAYED)
    claim = live.claim()
    rules = ("drop(m, 0.3)", "exp(exp(exp(100 * abs(g))))", "sign(g)", "adam")
    asked = [proposal(number, rule) for number, rule in enumerate(rules)]
    live.store.record_asked(claim, asked)
    outcomes = judge(evaluation_of(JOB_SPEC.validate_python(REPLAYED)), asked[:3])
    # Somebody's figure of the third trial is off by its last digit.
    values = {k: (math.nextafter(v[0], 9), *v[1:]) for k, v in outcomes[2].by_seed.items()}
    outcomes[2] = outcomes[2].model_copy(update={"by_seed": values})
    live.store.record_told(claim, outcomes, None)

    status, out, _ = shell("replay", job[:6], "0")
    assert status == 0
    assert out.endswith("the same to the digit\n")
    loss = repr(outcomes[0].by_seed["validation_loss"][1])
    assert out.count(loss) == 2
    found = shell.json("replay", job, "1")
    assert (found["same"], found["elsewhere"]) == (True, None)
    assert {"name": "state", "recorded": "INFEASIBLE", "replayed": "INFEASIBLE", "same": True} in (
        found["figures"]
    )
    status, out, _ = shell("replay", job, "2")
    assert status == 1
    names = [f"{name}, seed 0" for name in sorted(values)]
    assert out.endswith(f"different: {', '.join(names)}\n")
    status, out, err = shell("replay", job, "3")
    assert (status, out) == (1, "")
    assert "trial 3 has no outcome yet" in err


def test_what_cannot_or_need_not_be_replayed_alike_is_said(shell: Shell, live: Live) -> None:
    job = live.submit({**REPLAYED, "task": {"name": "wine"}})
    claim = live.claim()
    asked = proposal(0, "sign(g)")
    live.store.record_asked(claim, [asked])
    (told,) = judge(evaluation_of(live.store.job(job).spec), [asked])
    elsewhere = {"platform": "torch 1.0, cpu NEON", "replay": "0123456789abcdef"}
    live.store.record_told(claim, [told.model_copy(update=elsewhere)], None)
    status, out, _ = shell("replay", job, "0")
    assert status == 0, "the digits are the same all the same"
    assert f"recorded with torch 1.0, cpu NEON, replayed with {told.platform}" in out
    live.store.finish(claim, JobState.SUCCEEDED)

    pruned = live.submit(TUNE)
    finish(live)
    status, _, err = shell("replay", pruned, "0")
    assert status == 1
    assert "under a pruner" in err


def test_what_no_terminal_reads_is_plain_and_whole(shell: Shell, live: Live) -> None:
    shell.monkeypatch.setenv("COLUMNS", "40")
    job = live.submit(DISCOVER)
    finish(live)
    _, out, _ = shell("watch", job)
    assert f"{job} 1/2000 judged, best 0.25\n" in out
    assert f"{job} is SUCCEEDED\n" in out
    assert "\x1b" not in out
    assert "━" not in out
    out = shell("optimizers")[1]
    entries = shell.json("optimizers")
    assert len(out.splitlines()) == len(entries) + 1
    longest = max((entry["rule"].splitlines()[-1] for entry in entries), key=len)
    assert longest in out
    assert len(shell("tasks")[1].splitlines()) == len(shell.json("tasks")) + 1


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys, service.cli; "
        "print(sorted({'torch', 'ray', 'optuna', 'sqlalchemy', 'fastapi'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
