"""Evidence in words: what a comparison bears out of a rule, and no more."""

from collections.abc import Iterator

from service.resources import Evidence, PairedTest
from service.web.typography import count, figure

NAMES = {"adamw": "AdamW"}


def brief(evidence: Evidence) -> str:
    """Return one line for the leaderboard, without a full stop."""
    return "; ".join(_brief(evidence))


def sentences(evidence: Evidence) -> list[str]:
    """Return what a rule's page says of one standing, the paired test by its name."""
    return list(_sentences(evidence))


def _brief(evidence: Evidence) -> Iterator[str]:
    if evidence.rank is not None:
        yield f"{evidence.rank} of {evidence.of} by {_words(evidence.metric)}"
    paired = evidence.paired
    if paired is not None:
        yield f"ahead on {paired.wins} of {_seeds(paired.seeds)} (p = {paired.p_value:.2g})"
    if evidence.search_task_only:
        yield "wins on the search task only"
    elif evidence.unseen_tasks:
        yield f"ahead on {len(evidence.better_on)} of {_tasks(evidence)}"


def _sentences(evidence: Evidence) -> Iterator[str]:
    if evidence.rank is not None:
        yield (
            f"By {_words(evidence.metric)} it is number {evidence.rank} of the {evidence.of} "
            "optimizers that had the same task, seeds and grid."
        )
    if evidence.paired is not None:
        yield _tested(evidence.paired)
    if evidence.search_task_only:
        yield (
            "It wins on the search task only: AdamW, tuned over the same grid, is as good or "
            f"better on {_all_tasks(evidence)} ({', '.join(evidence.unseen_tasks)})."
        )
    elif evidence.unseen_tasks:
        where = f" ({', '.join(evidence.better_on)})" if evidence.better_on else ""
        yield (
            f"Of {_tasks(evidence)} ({', '.join(evidence.unseen_tasks)}) it does better than AdamW "
            f"on {len(evidence.better_on) or 'none'}{where}, by the mean over seeds."
        )
    elif evidence.paired is not None:
        yield "It was tried on no task that its search did not see."
    if evidence.long is not None:
        yield _tested(evidence.long)


def _tested(paired: PairedTest) -> str:
    return (
        f"After {count(paired.steps)} steps it does better than {_name(paired)}, tuned over the "
        f"same grid, on {paired.wins} of {_seeds(paired.seeds)}; its {_words(paired.metric)} "
        f"differs by {figure(paired.difference).striptags()} on average "
        f"({paired.test}: p = {paired.p_value:.2g})."
    )


def _name(paired: PairedTest) -> str:
    return NAMES.get(paired.against, paired.against)


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _tasks(evidence: Evidence) -> str:
    number = len(evidence.unseen_tasks)
    return f"{number} unseen task{'' if number == 1 else 's'}"


def _all_tasks(evidence: Evidence) -> str:
    number = len(evidence.unseen_tasks)
    return "the one unseen task" if number == 1 else f"all {number} unseen tasks"


def _words(name: str) -> str:
    return name.replace("_", " ")
