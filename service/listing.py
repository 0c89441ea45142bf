"""Lists on the terminal: ids and figures are never cut, the text in the last column yields.

Where no terminal reads, each row is one line with everything in it, for `grep` and `awk`.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

GAP = "  "
LEAST_ROOM = 24
"""Columns below which the last one is not worth a place beside the others."""

Cell = str | Text


@dataclass(frozen=True)
class Listing:
    """Rows under headings."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    """As long as `heads`; the last cell is a text of any length."""

    right: frozenset[str] = frozenset()
    """Headings of the columns that are set flush right: figures."""

    title: str = ""
    one_line: bool = False
    """Whether a long text ends in an ellipsis rather than going on in the next line."""


def show(console: Console, listing: Listing) -> None:
    """Print a list."""
    cells = [[_text(cell) for cell in row] for row in [listing.heads, *listing.rows]]
    count = len(listing.heads) - 1
    widths = [max(row[i].cell_len for row in cells) for i in range(count)]
    used = sum(widths) + len(GAP) * count
    if listing.title:
        console.print(Text(listing.title, "italic"), soft_wrap=True)
    for number, row in enumerate(cells):
        line = Text(style="bold" if number == 0 else "")
        for i, cell in enumerate(row[:-1]):
            padding = " " * (widths[i] - cell.cell_len)
            flush_right = listing.heads[i] in listing.right
            line.append_text(Text(padding) + cell if flush_right else cell + Text(padding))
            line.append(GAP)
        for part in _laid_out(line, row[-1], used, console, listing.one_line):
            console.print(part, soft_wrap=True, highlight=False)


def _text(cell: Cell) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(cell)


def _laid_out(line: Text, last: Text, used: int, console: Console, one_line: bool) -> list[Text]:
    """Return the lines of one row, its last cell beside the others or below them."""
    room = console.width - used
    if not console.is_terminal or last.cell_len <= room:
        line.append_text(last)
        line.rstrip()
        return [line]
    if one_line:
        last.truncate(max(1, room), overflow="ellipsis")
        return [line + last]
    if room >= LEAST_ROOM:
        first, *more = textwrap.wrap(last.plain, room) or [""]
        return [line + Text(first), *(Text(" " * used + part) for part in more)]
    line.rstrip()
    below = textwrap.wrap(last.plain, max(LEAST_ROOM, console.width - 4))
    return [line, *(Text("    " + part) for part in below)]
