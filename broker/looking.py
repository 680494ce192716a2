"""A look at the farm's queues: how much lies in them, and the dead letters one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from broker.connecting import connect
from broker.errors import BrokerError, errors
from broker.topology import Names

_LETTERS = 10_000  # looked at in one go; each look is a delivery of the letter


@dataclass(frozen=True)
class Depth:
    """Messages in a queue that nobody has taken yet, and how many consumers it has."""

    ready: int
    consumers: int


@dataclass(frozen=True)
class Letter:
    """A dead letter: the message as it came, the queue it was in, and why it is dead."""

    body: bytes
    queue: str
    reason: str
    tag: int


class Look:
    """Questions over one connection, for one thread; see `looking`."""

    def __init__(self, connection: Any, names: Names) -> None:
        """Ask over `connection`, a `pika.BlockingConnection`."""
        self._connection = connection
        self._names = names

    def check(self) -> None:
        """Return if the exchanges that clients use are there.

        Raises:
            BrokerError: one is not; the message says what makes it.
        """
        for exchange in (self._names.requests, self._names.results):
            if self._passively("exchange", exchange) is None:
                raise BrokerError(
                    f"RabbitMQ has no exchange {exchange}: start the farm, or make its queues "
                    "with 'tinymlaas farm declare'"
                )

    def depths(self, queues: Iterable[str]) -> dict[str, Depth]:
        """Return the depth of each of `queues` that is there."""
        found = {name: self._passively("queue", name) for name in queues}
        return {
            name: Depth(frame.method.message_count, frame.method.consumer_count)
            for name, frame in found.items()
            if frame is not None
        }

    @contextlib.contextmanager
    def dead_letters(self) -> Iterator[DeadLetters]:
        """Yield the dead letters; those not `drop`ped are back in their queue afterwards."""
        with errors("read the dead letters"), self._connection.channel() as channel:
            yield DeadLetters(channel, self._names.dead_letters)

    def _passively(self, kind: str, name: str) -> Any:
        """Return the broker's answer to whether the exchange or queue is there, None if not."""
        from pika.exceptions import ChannelClosedByBroker

        with errors(f"look at the {kind} {name}"):
            channel = self._connection.channel()
            try:
                frame = getattr(channel, f"{kind}_declare")(name, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code == 404:
                    return None
                raise
            channel.close()
            return frame


class DeadLetters:
    """The letters in the queue at the moment, oldest first; iterated once."""

    def __init__(self, channel: Any, queue: str) -> None:
        """Take letters from `queue`; closing `channel` puts them back."""
        self._channel = channel
        self._queue = queue

    def __iter__(self) -> Iterator[Letter]:
        for _ in range(_LETTERS):
            method, properties, body = self._channel.basic_get(self._queue)
            if method is None:
                return
            headers = properties.headers or {}
            died = _death(headers.get("x-death"))
            yield Letter(
                bytes(body),
                str(headers.get("x-queue") or died.get("queue") or method.routing_key),
                str(headers.get("x-reason") or died.get("reason") or "unknown"),
                method.delivery_tag,
            )

    def drop(self, letter: Letter) -> None:
        """Remove a letter that has been dealt with."""
        self._channel.basic_ack(letter.tag)


def _death(header: object) -> dict[str, Any]:
    """Return the broker's account of a letter's last death; senders can write that header too."""
    last = header[0] if isinstance(header, list) and header else None
    return last if isinstance(last, dict) else {}


@contextlib.contextmanager
def looking(url: str, names: Names) -> Iterator[Look]:
    """Connect for a look.

    Raises:
        BrokerUnavailable: the broker does not answer.
        BrokerError: it does not let us in, or the URL is malformed.
    """
    connection = connect(url, "look")
    try:
        yield Look(connection, names)
    finally:
        with contextlib.suppress(Exception):  # it may be gone already
            connection.close()
