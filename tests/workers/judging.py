"""Judges for tests: the real one, made slow or faulty, with a diary of what was begun."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dsl.candidate import Proposal
from dsl.outcome import Outcome
from workers.evaluation import judge
from workers.protocol import Evaluation

SECONDS = 0.5
BAD = 5


def slowly(
    evaluation: Evaluation, proposals: Sequence[Proposal], *, device: str = "cpu"
) -> list[Outcome]:
    """Enter the proposals in the diary, wait, and judge."""
    diary = Path(os.environ["RULESMITH_TEST_FOLDER"]) / "diary"
    with diary.open("a") as lines:
        numbers = " ".join(str(proposal.number) for proposal in proposals)
        lines.write(f"{os.getpid()} {numbers}\n")
    time.sleep(SECONDS)
    return judge(evaluation, proposals, device=device)


def unevenly(
    evaluation: Evaluation, proposals: Sequence[Proposal], *, device: str = "cpu"
) -> list[Outcome]:
    """Judge slowly, and more so every other time: of two that run at once, one ends later."""
    if len(entries(Path(os.environ["RULESMITH_TEST_FOLDER"]))) % 2:
        time.sleep(SECONDS)
    return slowly(evaluation, proposals, device=device)


def one_raises(
    evaluation: Evaluation, proposals: Sequence[Proposal], *, device: str = "cpu"
) -> list[Outcome]:
    """Raise if proposal BAD is among them."""
    if any(proposal.number == BAD for proposal in proposals):
        raise ArithmeticError(f"proposal {BAD} is bad")
    return judge(evaluation, proposals, device=device)


def none_is_judged(
    evaluation: Evaluation, proposals: Sequence[Proposal], *, device: str = "cpu"
) -> list[Outcome]:
    """Raise."""
    raise ArithmeticError("this cannot be judged")


def entries(folder: Path) -> list[tuple[int, tuple[int, ...]]]:
    """Return the diary: of each population begun its process and numbers."""
    diary = folder / "diary"
    lines = diary.read_text().splitlines() if diary.exists() else []
    fields = [[int(word) for word in line.split()] for line in lines]
    return [(process, tuple(numbers)) for process, *numbers in fields]


def begun(folder: Path) -> Counter[int]:
    """Return how often the judging of each number was begun."""
    return Counter(number for _, numbers in entries(folder) for number in numbers)


def until_entries(folder: Path, count: int, seconds: float = 120) -> list[int]:
    """Wait until so many populations were begun; return their processes."""
    end = time.monotonic() + seconds
    while len(found := entries(folder)) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} populations were begun"
        time.sleep(0.02)
    return [process for process, _ in found]


def numbers_of(outcomes: Iterable[Outcome]) -> list[int]:
    return [outcome.number for outcome in outcomes]
