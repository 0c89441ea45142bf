"""What need not be tried again: what is known already, and what is being tried now."""

from collections.abc import Iterator

from dsl.candidate import Proposal, Stage
from dsl.outcome import Origin, Outcome
from search.strategy import Known

MOST = 100_000
"""Outcomes of its own that a job remembers, the newest; of more it may try one again."""

Key = tuple[Stage, str]


class Memory:
    """Outcomes by what was tried, and who waits for one.

    Of a stage that is not in `known` nothing is remembered: there an outcome depends on more than
    its candidate.

    Args:
        known: What earlier trials found out, by stage and `Proposal.behaviour`.
        job: The id of the job, which its own outcomes are said to come from.
    """

    def __init__(self, known: Known, job: str) -> None:
        self._known = known
        self._job = job
        self._own: dict[Key, str] = {}
        """As JSON, a fifth of the memory."""

        self._waiting: dict[Key, list[Proposal]] = {}
        """Who waits for what is being tried; empty lists where nobody does."""

    def outcome_of(self, proposal: Proposal) -> Outcome | None:
        """Return what came of an equal one, at no cost and with its origin, without its curve."""
        key = self._key(proposal)
        if key is None:
            return None
        if key in self._own:
            return _for(proposal, Outcome.model_validate_json(self._own[key]))
        known = self._known[key[0]].get(key[1])
        return None if known is None else _for(proposal, known)

    def waits(self, proposal: Proposal) -> bool:
        """Enter one that is not known; return whether it waits for an equal one's outcome."""
        key = self._key(proposal)
        if key in self._waiting:
            self._waiting[key].append(proposal)
            return True
        if key is not None:
            self._waiting[key] = []
        return False

    def learn(self, proposal: Proposal, outcome: Outcome) -> Iterator[tuple[Proposal, Outcome]]:
        """Remember what came of a proposal; yield those that waited for it, with their outcomes."""
        key = self._key(proposal)
        if key is None:
            return
        origin = Origin(job_id=self._job, number=outcome.number)
        found = outcome.model_copy(update={"origin": origin})
        self._own[key] = found.model_dump_json(exclude={"curve"})
        if len(self._own) > MOST:
            del self._own[next(iter(self._own))]
        for equal in self._waiting.pop(key, ()):
            yield equal, _for(equal, found)

    def give_up(self, proposal: Proposal) -> Proposal | None:
        """Forget one that has no outcome; return who is to be tried in its place, if one waits."""
        key = self._key(proposal)
        if key is None or key not in self._waiting:
            return None
        waiting = self._waiting[key]
        if waiting:
            return waiting.pop(0)
        del self._waiting[key]
        return None

    def _key(self, proposal: Proposal) -> Key | None:
        if proposal.behaviour is None or proposal.stage not in self._known:
            return None
        return proposal.stage, proposal.behaviour


def _for(proposal: Proposal, outcome: Outcome) -> Outcome:
    free = {"number": proposal.number, "cost_steps": 0, "cost_seconds": 0.0}
    return outcome.model_copy(update=free)
