"""A publisher while there is no connection."""

from __future__ import annotations

import pytest

from broker import farm, publisher
from broker.consumer import Consumer, Delivery, Token
from broker.errors import BrokerUnavailable
from broker.farm import FarmPublisher, SchedulerSource
from broker.publisher import Message, Publisher
from broker.topology import Names


@pytest.mark.parametrize("most", [("_WAITING", 2), ("_WAITING_BYTES", 2)])
def test_what_there_is_no_room_for_is_told_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, most: tuple[str, int]
) -> None:
    """The scheduler's loop publishes the ends of jobs; it must outlive a broker that is away."""
    monkeypatch.setattr(publisher, *most)
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
    assert away._bytes == 0


def test_of_large_messages_few_are_kept_for_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant can send as many as the broker takes: they would fill the scheduler's memory."""
    monkeypatch.setattr(farm, "_BODIES_BYTES", 3_000_000)
    monkeypatch.setattr(Consumer, "start", lambda self, deliver, *_: setattr(self, "got", deliver))
    source = SchedulerSource("amqp://localhost", Publisher("amqp://localhost", "test"))
    taken: list[Delivery] = []
    source.start(taken.append)
    for tag, size in enumerate((10, 1_000_000, 1024 * 1024 + 1, 1_000_000, 1_000_000, 1_000_000)):
        delivery = Delivery(Token(Names().compile_requests, 0, tag), b"x" * size)
        source._requests.got(delivery)  # type: ignore[attr-defined]
    assert len(taken) == 6
    assert [token.tag for token in source._bodies] == [3, 4, 5]
    for each in taken:
        source.ack(Token(*each.token))
    assert source._bytes == len(source._bodies) == 0
