"""The commands on the service's own machine: serving, one owner, tokens, bad folders and files."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.store.store import Store
from tests.service.test_cli import Shell, live, shell
from tests.service.web.conftest import TUNE, Live

__all__ = ["live", "shell"]


def test_tokens_are_made_listed_and_revoked(shell: Shell, live: Live) -> None:
    home = str(live.file.parent)
    secret = shell("token", "create", "me", "--home", home)[1].strip()
    status, _, err = shell("jobs")
    assert status == 1
    assert "401" in err
    assert shell("jobs", "--token", secret)[0] == 0
    assert [token["name"] for token in shell.json("token", "list", "--home", home)] == ["me"]
    assert secret not in shell("token", "list", "--home", home)[1]
    assert shell("token", "revoke", "me", "--home", home)[0] == 0
    assert shell("jobs", "--token", secret)[0] == 1
    for arguments in (("revoke", "nobody"), ("create", "a b")):
        status, out, err = shell("token", *arguments, "--home", home)
        assert (status, out) == (2, "")
        assert err.startswith("error:")


def test_tokens_can_be_made_before_the_first_serve(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "fresh"
    status, out, _ = shell("token", "list", "--home", str(home))
    assert status == 0
    assert "no tokens" in out
    assert shell.json("token", "list", "--home", str(home)) == []
    assert shell("token", "create", "me", "--home", str(home))[0] == 0
    assert shell("migrate", "--home", str(home))[0] == 0
    assert [token["name"] for token in shell.json("token", "list", "--home", str(home))] == ["me"]


def test_revoking_the_last_token_says_how_to_get_back_in(shell: Shell, live: Live) -> None:
    home = str(live.file.parent)
    for name in ("one", "two"):
        shell("token", "create", name, "--home", home)
    assert "last" not in shell("token", "revoke", "one", "--home", home)[1]
    out = shell("token", "revoke", "two", "--home", home)[1]
    assert "last one" in out
    assert "rulesmith token create NAME" in out
    assert shell("jobs")[0] == 1
    secret = shell("token", "create", "three", "--home", home)[1].strip()
    assert shell("jobs", "--token", secret)[0] == 0
    assert "refused" in shell("token", "revoke", "--help")[1]


def serve(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RULESMITH_")}
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve", "--no-dispatcher", "--home", str(home),
         *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_tells_its_address_and_stops_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serve(tmp_path, "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        assert line.startswith("Rulesmith serves at http://127.0.0.1:")
        with httpx.Client(base_url=url, trust_env=False) as http:
            job = http.post("/api/v1/jobs", json=TUNE).json()["id"]
            with http.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
                assert stream.status_code == 200
                process.send_signal(number)
                stream.read()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert (tmp_path / "rulesmith.db").exists()


def test_serve_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = serve(tmp_path, "--port", str(port))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"port {port}" in err
    assert "Traceback" not in err


@pytest.fixture
def alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line in this process, where no service runs."""
    monkeypatch.delenv("RULESMITH_URL", raising=False)
    return Shell(capsys, monkeypatch)


def test_a_second_service_on_the_same_file_is_refused(alone: Shell, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    with serve(tmp_path, "--port", "0") as first:
        assert first.stdout is not None
        url = first.stdout.readline().split()[-1]
        for command in (("serve", "--port", "0"), ("dispatch",)):
            status, _, err = alone(*command, *home)
            assert status == 2
            (line,) = err.splitlines()
            assert f"rulesmith.db is in use by a running service (process {first.pid})" in line
            assert "RULESMITH_HOME" in line
        # Tokens and a migration that has nothing to do go on beside it.
        assert alone("migrate", *home)[0] == 0
        secret = alone("token", "create", "me", *home)[1].strip()
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(f"{url}/api/v1/jobs", headers=headers, trust_env=False).is_success
        first.send_signal(signal.SIGKILL)
        first.wait(30)
    # A lock ends with its process, however that ends.
    with Store(f"sqlite:///{tmp_path / 'rulesmith.db'}").owned():
        status, _, err = alone("serve", "--port", "0", *home)
        assert (status, f"process {os.getpid()}" in err) == (2, True)


def garbage(file: Path) -> None:
    file.write_bytes(b"this is no database, but a text" * 100)


def foreign(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


@pytest.mark.parametrize("make", [garbage, foreign])
def test_a_file_that_is_not_ours_is_told_in_one_line(
    alone: Shell, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    file = tmp_path / "rulesmith.db"
    make(file)
    before = file.read_bytes()
    for command in (("serve", "--port", "0"), ("dispatch",), ("migrate",), ("token", "list")):
        status, _, err = alone(*command, "--home", str(tmp_path))
        assert status == 2
        (line,) = err.splitlines()
        assert f"{file} is not a database of rulesmith" in line
        assert "move it away" in line
        assert file.read_bytes() == before


@pytest.mark.parametrize("home", ["a file", "a file/below", "/proc/rulesmith"])
def test_a_folder_that_cannot_be_used_is_told_in_one_line(
    alone: Shell, tmp_path: Path, home: str
) -> None:
    (tmp_path / "a file").write_text("")
    alone.monkeypatch.setenv("RULESMITH_HOME", str(tmp_path / home))
    status, _, err = alone("serve", "--port", "0")
    assert status == 2
    (line,) = err.splitlines()
    assert str(tmp_path / home) in line
    assert "RULESMITH_HOME" in line
