"""What people write in files and on the command line: jobs in JSON or YAML, beginnings of ids."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from service.terminal import WrongUse


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of YAML 1.2, in which 1e-5 is a number (PyYAML's 1.1: a text)."""


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)))


_Loader.add_constructor("!exponent", _number)
_Loader.add_implicit_resolver(
    "!exponent",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read(path: str) -> Any:
    """Return what a JSON or YAML file holds, `-` for standard input.

    Raises:
        WrongUse: It cannot be read, or is neither.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"cannot read {path}: {error}") from error
    return parse(text, path)


def parse(text: str, path: str) -> Any:
    """Return what a JSON or YAML text holds.

    Args:
        text: The text.
        path: Where it comes from, for the message.

    Raises:
        WrongUse: It is neither; the line and what is wrong there.
    """
    try:
        # JSON first: it is nearly, not wholly, a part of YAML (tabs, say).
        return json.loads(text)
    except RecursionError:
        raise WrongUse(f"{path} is nested too deeply: a job needs fewer than 10 levels") from None
    except json.JSONDecodeError as error:
        in_json = f"line {error.lineno}, column {error.colno}: {error.msg.lower()}"
    except ValueError as error:
        raise WrongUse(f"{path} holds a number of too many digits") from error
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        kind, why = "YAML", _in_yaml(error)
    except (yaml.YAMLError, ValueError) as error:
        kind, why = "YAML", str(error).splitlines()[0]
    except RecursionError:
        raise WrongUse(f"{path} is nested too deeply: a job needs fewer than 10 levels") from None
    if path.endswith(".json") or text.lstrip().startswith(("{", "[")):
        kind, why = "JSON", in_json
    raise WrongUse(f"{path} is no valid {kind}, {why}")


def _in_yaml(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = "somewhere" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
    problem = error.problem or "cannot be read"
    if isinstance(error, yaml.constructor.ConstructorError):
        problem = "only texts, numbers, lists and objects are allowed, no tags"
    return f"{where}: {problem}"


def is_beginning(text: str) -> bool:
    """Whether a text could be the beginning of an id."""
    return re.fullmatch(r"[0-9a-f]{1,12}", text) is not None


def check_json(document: Any, path: str) -> None:
    """Check that JSON can say what a YAML text holds.

    Raises:
        WrongUse: It holds, say, `.inf` or a date.
    """
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongUse(f"{path} holds what JSON cannot say: {error}") from error
