"""Pieces of exported files: sources of functions, lists that wrap, indented lines."""

import inspect
import re
import textwrap
from collections.abc import Callable

__all__ = ["WIDTH", "called", "indented", "plain", "words", "wrapped"]

WIDTH = 100
"""Columns that lines of exported files keep to where they can."""


def words(source: str) -> set[str]:
    """Return the identifiers in a source."""
    return set(re.findall(r"[A-Za-z_]\w*", source))


def called(name: str, source: list[str]) -> bool:
    """Tell whether lines use a name by itself, not as an attribute."""
    return any(re.search(rf"(?<![.\w]){name}\b", line) for line in source)


def plain(function: Callable[..., object]) -> str:
    """Return a function's source without annotations, its docstring cut to one line."""
    head, _, rest = inspect.getsource(function).partition(':\n    """')
    given = inspect.signature(function).parameters.values()
    head = (
        f"def {function.__name__}({', '.join(str(p.replace(annotation=p.empty)) for p in given)})"
    )
    rest = re.sub(r"  # noqa.*", "", rest)
    rest = re.sub(r'^([^\n]*?)\n\n.*?"""', r'\1"""', rest, count=1, flags=re.DOTALL)
    return f'{head}:\n    """{rest}'


def wrapped(
    items: list[str], column: int, brackets: str = "", *, always: bool = True, inset: int = 0
) -> str:
    """Join items by commas, from a column on, over several lines where one is too short.

    `always` sets the brackets around one line, too. `inset` columns of each line are for what
    comes around it: it will be indented, or goes on.
    """
    line = ", ".join(items)
    if column + len(line) + 2 <= WIDTH - inset:
        return f"{brackets[:1]}{line}{brackets[1:]}" if always else line
    start = column + len(brackets[:1])
    lines = textwrap.wrap(line, WIDTH - inset - start - 2, break_long_words=False)
    return brackets[:1] + f"\n{' ' * start}".join(lines) + brackets[1:]


def indented(lines: list[str], columns: int) -> str:
    """Indent lines, each of which may hold several, and end each."""
    return "".join(textwrap.indent(f"{line}\n", " " * columns) for line in lines)
