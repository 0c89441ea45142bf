"""A trial run once more on this machine, and whether it comes to the same digits."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from dsl.outcome import Outcome
from service.resources import Replay
from workers.evaluation import judge


class Figure(NamedTuple):
    """One figure as it was recorded and as it came out now."""

    name: str
    recorded: object
    replayed: object

    @property
    def same(self) -> bool:
        """Whether they are the same to the last digit."""
        return self.recorded == self.replayed


def device_of(recorded: Outcome) -> str:
    """Return the device to replay on: the kind that was used, where this machine has one."""
    on_gpu = ", cuda " in (recorded.platform or "")
    return "cuda" if on_gpu and torch.cuda.is_available() else "cpu"


def replay(recorded: Replay) -> Outcome:
    """Judge a recorded proposal alone, in one thread, as a worker would."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        device = device_of(recorded.outcome)
        return judge(recorded.evaluation, [recorded.proposal], device=device)[0]
    finally:
        torch.set_num_threads(threads)


def figures(recorded: Outcome, replayed: Outcome) -> list[Figure]:
    """Return all that both say: how they ended, the learning rate, every metric of every seed."""
    one, two = dict(_said(recorded)), dict(_said(replayed))
    names = [*one, *(name for name in two if name not in one)]
    return [Figure(name, one.get(name), two.get(name)) for name in names]


def elsewhere(recorded: Outcome, replayed: Outcome) -> str | None:
    """Return why digits may differ here, None where all that determines them is the same."""
    if recorded.replay == replayed.replay:
        return None
    if recorded.platform == replayed.platform:
        return "the task's data or first weights, or the protocol's fields, have changed since"
    before = recorded.platform or "a version that did not say"
    return f"recorded with {before}, replayed with {replayed.platform}"


def _said(outcome: Outcome) -> Iterator[tuple[str, object]]:
    yield "state", outcome.state.value
    yield "reason", outcome.reason
    yield "steps", outcome.step
    yield "lr", outcome.lr
    for name, value in sorted(outcome.metrics.items()):
        yield name, value
        for seed, own in enumerate(outcome.by_seed.get(name, ())):
            yield f"{name}, seed {seed}", own
