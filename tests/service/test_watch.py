"""A cluster's processes listen, or do not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from service import watch
from service.watch import Watch


class Parts:
    """What stands for a cluster: two sockets that listen, and a watch that looks at every call."""

    def __init__(self, stack: ExitStack) -> None:
        self.head = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.raylet = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.at = self.head.getsockname()
        self.watch = Watch(self.at, self.raylet.getsockname())


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.0)
    with ExitStack() as stack:
        yield Parts(stack)


def test_a_raylet_that_refuses_has_died_and_stays_dead(parts: Parts) -> None:
    assert parts.watch.fault() is None
    at = parts.raylet.getsockname()
    parts.raylet.close()
    assert parts.watch.fault() == "this machine's raylet died"
    with socket.create_server(at):  # Another's: the one that knew our actors is gone.
        assert parts.watch.fault() == "this machine's raylet died"


def test_a_silent_head_may_come_back(parts: Parts) -> None:
    parts.head.close()
    assert parts.watch.fault() is None
    assert parts.watch.doubtful
    with socket.create_server(parts.at):
        assert parts.watch.fault() is None
        assert not parts.watch.doubtful


def test_a_head_that_stays_silent_is_given_up(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.head.close()
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 0.0)
    assert parts.watch.fault() == "its head has not answered for 0 s"


def test_it_is_not_tried_at_every_question(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 3600.0)
    parts.raylet.close()
    assert parts.watch.fault() is None
