"""Small things the tests of the broker share."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator

import pika

from broker.consumer import Consumer, Delivery, Subscription
from broker.publisher import Message, Publisher

SECONDS = 60.0


@contextlib.contextmanager
def opened(url: str) -> Iterator[Publisher]:
    publisher = Publisher(url, "test")
    publisher.open()
    try:
        yield publisher
    finally:
        publisher.close()


class Received:
    """A consumer that keeps what it is given; acknowledges it unless told not to."""

    def __init__(
        self, url: str, *queues: str, ack: bool = True, prefetch: int = 100, lock: str | None = None
    ) -> None:
        self.deliveries: queue.Queue[Delivery] = queue.Queue()
        wanted = [Subscription(name, prefetch) for name in queues]
        self.consumer = Consumer(url, "test", wanted, lock=lock)
        self._ack = ack
        self.consumer.start(self._deliver)

    def _deliver(self, delivery: Delivery) -> None:
        if self._ack:
            self.consumer.ack(delivery.token)
        self.deliveries.put(delivery)

    def get(self, seconds: float = SECONDS) -> Delivery:
        return self.deliveries.get(timeout=seconds)

    def nothing(self, seconds: float = 1.0) -> bool:
        with contextlib.suppress(queue.Empty):
            self.deliveries.get(timeout=seconds)
            return False
        return True

    def __enter__(self) -> Received:
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.close()


def until(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def count(url: str, name: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return int(connection.channel().queue_declare(name, passive=True).method.message_count)


def to(name: str, body: bytes) -> Message:
    return Message("", name, body)
