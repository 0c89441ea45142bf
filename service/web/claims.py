"""Evidence in words: what a comparison bears out of a rule, and no more."""

from collections.abc import Iterator, Sequence

from dsl.candidate import Stage
from service.resources import Evidence, PairedTest, Standing
from service.web.typography import count, figure

NAMES = {"adamw": "AdamW"}
SIGNIFICANT = 0.05
"""What readers expect a p-value to be below."""


def brief(evidence: Evidence) -> str:
    """Return one line for the leaderboard, without a full stop."""
    return "; ".join(_brief(evidence))


def paragraphs(standings: Sequence[Standing]) -> list[tuple[str, str]]:
    """Return what a rule's page says, as a title and its sentences, each said once.

    A standing on the search's task is told in full, the paired test by its name. What a job found
    on an unseen task is told in a line after those, or in full where nothing else names that job.
    """
    found, jobs, said = list[tuple[str, str]](), set[str](), set[str]()
    told = [each for each in standings if each.evidence is not None]
    for standing in sorted(told, key=lambda each: each.stage is Stage.UNSEEN):
        assert standing.evidence is not None
        if standing.stage is Stage.UNSEEN and standing.job_id in jobs:
            own = _line(standing.evidence)
        else:
            own = [each for each in _sentences(standing.evidence) if each not in said]
        jobs.add(standing.job_id)
        said.update(own)
        title = f"{standing.task}, {standing.label}" if standing.label else standing.task
        if own:
            found.append((title, " ".join(own)))
    return found


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


def _line(evidence: Evidence) -> list[str]:
    place = f"number {evidence.rank} of {evidence.of} by {_words(evidence.metric)}"
    paired = evidence.paired
    if paired is None:
        return [f"{place.capitalize()}."]
    return [
        f"{place.capitalize()}, which differs from {_name(paired)}'s by "
        f"{figure(paired.difference).striptags()} on average; ahead on {paired.wins} of "
        f"{_seeds(paired.seeds)} ({_p(paired)})."
    ]


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
        f"({paired.test}: {_p(paired)})."
    )


def _p(paired: PairedTest) -> str:
    """Return the p-value, and where fewer seeds than needed held it up, that they did."""
    said = f"p = {paired.p_value:.2g}"
    least = 2.0 ** (1 - paired.seeds)
    if paired.p_value > least or least <= SIGNIFICANT:
        return said
    return f"{said}, the smallest that {_seeds(paired.seeds)} can show"


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
