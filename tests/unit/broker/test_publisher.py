"""A publisher while there is no connection."""

from __future__ import annotations

import pytest

from broker import publisher
from broker.errors import BrokerUnavailable
from broker.farm import FarmPublisher
from broker.publisher import Message, Publisher


def test_what_there_is_no_room_for_is_told_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scheduler's loop publishes the ends of jobs; it must outlive a broker that is away."""
    monkeypatch.setattr(publisher, "_WAITING", 2)
    away = Publisher("amqp://localhost", "test")
    told: list[tuple[int, Exception | None]] = []
    for number in range(4):
        FarmPublisher(away).publish("a.1.done", b"x", lambda e, n=number: told.append((n, e)))
    assert [number for number, _ in told] == [2, 3]
    assert all(isinstance(error, BrokerUnavailable) for _, error in told)
    with pytest.raises(BrokerUnavailable, match="wait for RabbitMQ already"):
        away.publish_and_wait(Message("", "q", b"x"), 1)
    away.close()
    assert [number for number, _ in told] == [2, 3, 0, 1]
