"""What pydantic says of a value, in plain words: what is allowed, what it was, an example."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dsl.candidate import BATCH_SIZE, DECAY_KIND, SCHEDULE_NAME

MAX_VALUE = 60

EXAMPLES: dict[str, Any] = {
    "": {"kind": "tune", "name": "adamw on digits"},
    "kind": "tune",
    "name": "adamw on digits",
    "task": {"name": "digits-mlp"},
    "optimizer": "adamw",
    "rule": "sign(ema(g, beta))",
    "objective": {"metric": "validation_loss", "direction": "minimize"},
    "metric": "validation_loss",
    "schedule": {"name": "cosine"},
    "settings": {"warmup": 0.1},
    "space": {"lr": {"type": "float", "low": 1e-5, "high": 1, "log": True}},
    "choices": [0.01, 0.1],
    "sampler": {"name": "tpe"},
    "pruner": {"name": "successive_halving"},
    "budget": {"trials": 100},
    "strategy": {"name": "reinforcement"},
    "language": {"preset": "nos", "groups": 2},
    "protocol": {"seeds": 3},
    "learning_rates": [0.01, 0.1, 1.0],
    "comparison": {"top": 10, "seeds": 5},
    "baselines": ["sgd", "adamw"],
    "text": "sign(ema(g, beta))",
}
"""A good value for the fields people get wrong, by the field's name."""

PARAMETER = {"type": "float", "low": 1e-5, "high": 1, "log": True}
PARAMETERS: dict[str, Any] = {
    SCHEDULE_NAME: {"type": "categorical", "choices": ["constant", "cosine"]},
    DECAY_KIND: {"type": "categorical", "choices": ["l2", "decoupled"]},
    BATCH_SIZE: {"type": "int", "low": 16, "high": 256, "log": True},
}
"""Good parameters of a space, by name; the first is good for any number."""

PATTERNS = {
    r"^[\w .,:;()+\-]+$": "letters, digits, spaces and . , : ; ( ) + - _",
    r"^[\w .\-]+$": "letters, digits, spaces and . - _",
    r"^[^\x00]*$": "any character but U+0000",
    r"^\d{1,18}(,\d{1,18})*$": "whole numbers separated by commas, as in 0,1,2",
    r"^[\x21-\x7e]+$": "printable ASCII characters without spaces",
}
"""What the patterns of the bodies and parameters mean."""

OBJECTS = ("model_type", "model_attributes_type", "dict_type")
LISTS = ("list_type", "tuple_type")
BOUNDS = {
    "greater_than": ("gt", "greater than {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "{} or less"),
}
PLAIN = {
    "string_type": "must be a text in quotes",
    "int_type": "must be an integer, without quotes",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer, without a fraction",
    "int_parsing_size": "must be an integer of fewer digits",
    "float_type": "must be a number, without quotes",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number: JSON has neither NaN nor infinity",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null",
}


def shown(value: Any) -> str:
    """Return a value as JSON, at most 60 characters of it."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def example_of(path: Sequence[str | int]) -> str:
    """Return a good value for the field at `path` as JSON, an empty text if none is known."""
    if len(path) == 2 and path[0] == "space":
        return json.dumps(PARAMETERS.get(str(path[1]), PARAMETER))
    name = str(path[-1]) if path else ""
    return json.dumps(EXAMPLES[name]) if name in EXAMPLES else ""


def _size(kind: str, context: Mapping[str, Any]) -> str:
    short = kind.endswith("too_short")
    bound = context["min_length" if short else "max_length"]
    what = "character" if kind.startswith("string") else "entry"
    plural = {"character": "characters", "entry": "entries"}[what] if bound != 1 else what
    return f"must have at {'least' if short else 'most'} {bound} {plural}"


def phrase(fault: Mapping[str, Any], path: Sequence[str | int]) -> str:
    """Return the sentence for one fault.

    Args:
        fault: One of pydantic's `errors()`, of a kind that is about a value.
        path: Where in the body the value is.
    """
    kind, context, value = fault["type"], fault.get("ctx", {}), fault.get("input")
    got, example = f"; got {shown(value)}", example_of(path)
    say = f"; write, say, {example}" if example else ""
    if kind in OBJECTS:
        return f"must be an object in braces{got}{say}"
    if kind in LISTS:
        return f"must be a list in brackets{got}{say}"
    if kind in BOUNDS:
        key, words = BOUNDS[kind]
        return f"must be {words.format(context[key])}{got}"
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        had = "" if isinstance(value, str) and len(value) > MAX_VALUE else got
        return f"{_size(kind, context)}{had}{say}"
    if kind == "string_pattern_mismatch" and context["pattern"] in PATTERNS:
        return (
            f"holds a character that is not allowed{got}; allowed: {PATTERNS[context['pattern']]}"
        )
    if kind == "literal_error":
        return f"must be {context['expected']}{got}"
    if kind in PLAIN:
        return f"{PLAIN[kind]}{got}{say}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "must be")
    return message if own(kind) or isinstance(value, dict | list | tuple) else message + got


OWN = frozenset({"unknown_name", "range", "wide_range", "log_range", "log_step", "choices",
                 "schedule_settings", "one_of"})  # fmt: skip


def own(kind: str) -> bool:
    """Whether the sentence is this project's, which says value, allowed and remedy by itself."""
    return kind in OWN
