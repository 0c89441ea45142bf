"""From a pydantic fault to a pointer into the body and a sentence that says what is allowed."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from service.web.phrases import MAX_VALUE, example_of, phrase

Schema = dict[str, Any]
"""JSON schema."""


def pointer_of(parts: Sequence[str | int]) -> str:
    """Return the RFC 6901 pointer, as URI fragment, of keys and indices: `#/space/lr`."""
    escaped = (str(part)[:100].replace("~", "~0").replace("/", "~1") for part in parts)
    return "#" + "".join(f"/{part}" for part in escaped)


def path_in_body(loc: Sequence[str | int], body: Any, *, missing: bool = False) -> list[str | int]:
    """Return where in `body` a fault is, without the names of union members.

    Args:
        loc: pydantic's location below the body; it also holds the tags of the unions that were
            entered (`tune`, `float`), which no key of the body bears.
        body: The parsed body.
        missing: Whether the last part names a field that should be there and is not.
    """
    path: list[str | int] = []
    here = body
    for position, part in enumerate(loc):
        if position == 0 and isinstance(body, Mapping) and part == body.get("kind"):
            continue
        if _holds(here, part):
            path.append(part)
            here = here[part]
        elif missing and position == len(loc) - 1:
            path.append(part)
    return path


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and 0 <= part < len(value)


@lru_cache(maxsize=32)
def schema_of(annotation: Any, discriminator: str | None) -> Schema:
    """Return the JSON schema of a body's type, a union told apart by `discriminator` if given."""
    if discriminator is None:
        return TypeAdapter(annotation).json_schema()
    field = Field(discriminator=discriminator)
    return TypeAdapter(Annotated[annotation, field]).json_schema()


def _resolved(node: Schema, root: Schema) -> Schema:
    while "$ref" in node:
        found: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _below(node: Schema, part: str | int, root: Schema) -> Schema | None:
    """Return the schema that `part` of a location leads to."""
    node = _resolved(node, root)
    mapping = node.get("discriminator", {}).get("mapping", {})
    if part in mapping:
        return _resolved({"$ref": mapping[part]}, root)
    if part in node.get("properties", {}):
        return dict(node["properties"][part])
    for key in ("additionalProperties", "items"):
        if isinstance(node.get(key), dict):
            return dict(node[key])
    for member in node.get("anyOf", ()):
        found = _below(member, part, root)
        if found is not None:
            return found
    return None


def _at(loc: Sequence[str | int], root: Schema) -> Schema:
    """Return the schema at a location, an empty one if there is none."""
    node: Schema | None = root
    for part in loc:
        node = None if node is None else _below(node, part, root)
    return {} if node is None else _resolved(node, root)


def allowed_fields(root: Schema, loc: Sequence[str | int]) -> list[str]:
    """Return the names that the object at `loc` may hold; none if the schema does not say."""
    node = _at(loc, root)
    members = [node, *(_resolved(member, root) for member in node.get("anyOf", ()))]
    return sorted({name for member in members for name in member.get("properties", {})})


def _unknown_field(name: str, allowed: list[str]) -> str:
    near = get_close_matches(name[:64], allowed, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    names = f"; allowed: {', '.join(allowed)}" if allowed else ""
    return f"there is no field '{name[:MAX_VALUE]}' here{hint}{names}"


def described(fault: Mapping[str, Any], body: Any, schema: Schema) -> tuple[str, str]:
    """Return the pointer and the sentence for one fault.

    Args:
        fault: One of pydantic's `errors()`, its location starting with `body` or `query`.
        body: The parsed body, None if there is none.
        schema: The body's JSON schema, which says what is allowed; empty if unknown.
    """
    loc = tuple(fault["loc"])[1:]
    kind = fault["type"]
    path = path_in_body(loc, body, missing=kind == "missing")
    context = fault.get("ctx", {})
    if kind == "missing":
        say = example_of(path)
        return pointer_of(path), "this field is required" + (f"; write, say, {say}" if say else "")
    if kind == "extra_forbidden":
        return pointer_of(path), _unknown_field(str(loc[-1]), allowed_fields(schema, loc[:-1]))
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        field = str(context.get("discriminator", "")).strip("'")
        pointer = pointer_of([*path, field])
        if kind == "union_tag_not_found":
            tags = _tags(schema, loc)
            return pointer, "this field is required" + (f"; allowed: {tags}" if tags else "")
        tag, expected = context.get("tag", ""), context.get("expected_tags", "")
        return pointer, f"there is no {field} '{str(tag)[:MAX_VALUE]}'; allowed: {expected}"
    return pointer_of([*path, *_within(path, context.get("at", ()), body)]), phrase(fault, path)


def _within(path: Sequence[str | int], at: Sequence[str | int], body: Any) -> list[str | int]:
    """Return as much of `at`, where in a value its fault is, as the body says.

    A schedule that is given by its name alone has no field `name`, say.
    """
    here = body
    for part in path:
        here = here[part]
    found: list[str | int] = []
    for part in at:
        if not _holds(here, part):
            # The field that is missing is named all the same.
            return [*found, part] if isinstance(here, Mapping) else found
        found.append(part)
        here = here[part]
    return found


def _tags(root: Schema, loc: Sequence[str | int]) -> str:
    mapping = _at(loc, root).get("discriminator", {}).get("mapping", {})
    return ", ".join(f"'{tag}'" for tag in mapping)
