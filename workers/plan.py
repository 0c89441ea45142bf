"""Which rows of a population are trained together."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from dsl.candidate import Candidate
from workers.memory import out_of_memory
from workers.single import Single
from workers.stack import Stack


def plan(
    candidates: Sequence[Candidate], limit: int, apart: int | None = None
) -> Iterator[list[int]]:
    """Cut a population into stacks of at most `limit` rows, equal rules beside each other.

    Two seeds with many rows get stacks of their own, in which each shares every batch and each
    rule's rows of both are stepped at once. Many are `apart` or more, and a quarter of what a stack
    holds. Candidates that cannot be stacked are left out.
    """
    many = min(-(-limit // 4), apart or limit)
    stacked = [(row, each) for row, each in enumerate(candidates) if not each.imported]
    sizes = Counter(each.seed for _, each in stacked)
    crowded = sorted(seed for seed, size in sizes.items() if size >= many)
    pair = {seed: number // 2 for number, seed in enumerate(crowded)}
    grouped: dict[int, list[int]] = defaultdict(list)
    for row, each in stacked:
        grouped[pair.get(each.seed, -1)].append(row)
    for number in sorted(grouped):
        rows = sorted(
            grouped[number], key=lambda row: (candidates[row].rule, candidates[row].decay, row)
        )
        size = -(-len(rows) // -(-len(rows) // limit))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


class Chunk:
    """Rows that are trained together, as one stack or a single row by itself.

    Its tensors may be given up at any time: rows depend on their candidates alone, so that
    training them again from the beginning makes the same tensors.
    """

    def __init__(self, rows: Sequence[int], marks: int = 0) -> None:
        """Take the population's numbers of rows that have as many marks behind them."""
        self.rows, self.marks = list(rows), marks
        """The rows still running, and how many marks lie behind them."""

        self.stack: Stack | Single | None = None

    def drop(self, rows: set[int]) -> None:
        """Take rows out; where even that needs more memory than there is, give up the tensors."""
        self.rows = [row for row in self.rows if row not in rows]
        try:
            if self.stack is not None:
                self.stack.drop(rows)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self.stack = None

    def halves(self) -> list["Chunk"]:
        """Return it as two, which begin again."""
        middle = -(-len(self.rows) // 2)
        return [Chunk(rows, self.marks) for rows in (self.rows[:middle], self.rows[middle:])]
