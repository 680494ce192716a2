"""A task is acknowledged on the connection that delivered it, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import dramatiq.brokers.rabbitmq
import pytest

from broker.dramatiq_broker import QuorumBroker, _QuorumConsumer, task_message


class Channel:
    """Delivers one task; like the broker's, its delivery tags begin with 1."""

    def __init__(self, task: str) -> None:
        self.settled: list[tuple[str, int]] = []
        self._body = task_message("p", task.encode())[1]

    def basic_qos(self, prefetch_count: int) -> None:
        pass

    def consume(self, queue: str, inactivity_timeout: float) -> Iterator[tuple[Any, Any, bytes]]:
        method = SimpleNamespace(redelivered=False, delivery_tag=1)
        yield method, SimpleNamespace(headers={"x-delivery-count": 4}), self._body

    def basic_ack(self, tag: int) -> None:
        self.settled.append(("ack", tag))

    def basic_nack(self, tag: int, requeue: bool) -> None:
        self.settled.append(("nack", tag))


class Connection:
    def __init__(self, channel: Channel) -> None:
        self.channel = lambda: channel

    def add_callback_threadsafe(self, call: Callable[[], None]) -> None:
        call()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[_QuorumConsumer, Channel]]:
    broker = QuorumBroker("amqp://localhost", "test")

    def connected(task: str) -> tuple[_QuorumConsumer, Channel]:
        channel = Channel(task)
        monkeypatch.setattr(
            dramatiq.brokers.rabbitmq.pika,
            "BlockingConnection",
            lambda parameters: Connection(channel),
        )
        return _QuorumConsumer(broker, "pool.p", 1, 500), channel

    return connected


@pytest.mark.parametrize("verb", ["ack", "nack"])
def test_what_a_lost_connection_delivered_settles_nothing_on_the_next(connect, verb: str) -> None:
    before, _ = connect("first")
    old = next(before)
    after, channel = connect("second")
    new = next(after)
    assert old._tag == new._tag == 1
    getattr(after, verb)(old)
    assert channel.settled == []
    getattr(after, verb)(new)
    assert channel.settled == [(verb, 1)]
    assert new.options["earlier_deliveries"] == 4
