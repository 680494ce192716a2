"""A consumer whose messages are not taken reads little, and its connection is still served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from broker import consumer
from broker.consumer import Consumer, Delivery, Subscription


class Loop:
    """Counts the turns in which the link waited."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []
        self.waits = 0

    def call_later(self, seconds: float, what: Callable[[], None]) -> None:
        self.waits += 1
        self.later.append(what)

    def turn(self) -> None:
        later, self.later = self.later, []
        for what in later:
            what()


def test_a_link_with_a_backlog_waits_once_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn may bring hundreds of small messages; a wait for each would cost the connection."""
    monkeypatch.setattr(consumer, "_BACKLOG_BYTES", 100)
    monkeypatch.setattr(consumer, "_BACKLOG_SECONDS", 0.01)
    link = Consumer("amqp://localhost", "test", [Subscription("q", 1000)])
    loop = Loop()
    link._connection = SimpleNamespace(ioloop=loop)
    method = SimpleNamespace(delivery_tag=1, routing_key="", redelivered=False)
    properties: Any = SimpleNamespace(headers=None, reply_to=None)
    taken: list[Delivery] = []
    all_taken, taking = threading.Event(), threading.Event()

    def deliver(delivery: Delivery) -> None:
        assert taking.wait(60)
        taken.append(delivery)
        if len(taken) == 62:
            all_taken.set()

    link._deliver = deliver
    for _ in range(2):
        link._on_message("q", None, method, properties, b"x" * 100)
    assert loop.waits == 1, "it waited for room and went on without"
    for _ in range(2):
        loop.turn()
        for _ in range(30):
            link._on_message("q", None, method, properties, b"x")
    assert loop.waits == 3
    link._dispatcher.start()
    taking.set()
    assert all_taken.wait(60)
    loop.turn()
    link._on_message("q", None, method, properties, b"x")
    assert loop.waits == 3, "there is room"
    link._inbox.put(None)
