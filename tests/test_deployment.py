"""The container files agree with the code: commands, settings and ports exist as they name them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from service.cli import app
from service.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: body for name, body in SERVICES.items() if body.get("image") == "rulesmith"}


def words(command: str | list[str]) -> list[str]:
    return re.findall(r"[\w./=:-]+", command) if isinstance(command, str) else command


def settings_read() -> set[str]:
    """Every environment variable that Settings reads."""
    return {
        str(field.validation_alias or f"RULESMITH_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }


def test_the_parts_of_production_are_there() -> None:
    assert {"postgres", "api", "dispatcher", "ray-head", "ray-worker"} <= set(SERVICES)
    assert SERVICES["ray-worker-gpu"]["profiles"] == ["gpu"]


@pytest.mark.parametrize("name", OURS)
def test_every_setting_named_is_read_by_the_code(name: str) -> None:
    for variable in OURS[name].get("environment", {}):
        known = variable in settings_read() or variable in {
            "RAY_AUTH_MODE",
            "RAY_AUTH_TOKEN",
            "RAY_USAGE_STATS_ENABLED",
        }
        assert known, f"{name} sets {variable}, which nothing reads"


@pytest.mark.parametrize("name", ["api", "dispatcher"])
def test_commands_and_options_exist(name: str) -> None:
    command = words(SERVICES[name]["command"])
    arguments = command[command.index("rulesmith") + 1 :]
    subcommand = get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    options = {option for parameter in subcommand.params for option in parameter.opts}
    options |= {option for parameter in subcommand.params for option in parameter.secondary_opts}
    assert {word for word in arguments[1:] if word.startswith("--")} <= options


def test_the_published_port_is_the_one_served() -> None:
    command = SERVICES["api"]["command"]
    port = command[command.index("--port") + 1]
    assert SERVICES["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"EXPOSE {port}" in DOCKERFILE
    assert int(port) == Settings.model_fields["port"].default


def test_api_and_dispatcher_share_one_database() -> None:
    url = SERVICES["api"]["environment"]["DATABASE_URL"]
    assert SERVICES["dispatcher"]["environment"]["DATABASE_URL"] == url
    assert "@postgres:5432/" in url
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == url.rsplit("/", 1)[1]
    assert Settings(database_url=url).store_url().startswith("postgresql+psycopg://")


def test_ray_is_never_published_and_always_behind_a_token() -> None:
    for name in ("dispatcher", "ray-head", "ray-worker", "ray-worker-gpu"):
        assert "ports" not in SERVICES[name]
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"


def test_the_image_holds_every_room() -> None:
    for room in ("dsl", "optimizers", "search", "workers", "service"):
        assert f"COPY {room} {room}" in DOCKERFILE
