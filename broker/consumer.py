"""Consume queues: messages are delivered on a thread of their own and acknowledged from any."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from broker.link import Link, Step

_BACKLOG_BYTES = 16 * 1024 * 1024
_BACKLOG_SECONDS = 3.0  # shorter than a heartbeat
_log = logging.getLogger(__name__)


class Token(NamedTuple):
    """What it takes to acknowledge a delivery. It is void once the connection is another one
    (`epoch`): the broker has then put the message back.
    """

    source: str
    epoch: int
    tag: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came; `earlier` deliveries of it were not acknowledged."""

    token: Token
    body: bytes
    reply_to: str | None = None
    routing_key: str = ""
    earlier: int = 0


@dataclass(frozen=True)
class Subscription:
    """A queue to consume, of which up to `prefetch` messages are with us unacknowledged.

    With `exchange` and `key` it is a queue of our own that lives as long as the connection; its
    `queue` is only what tokens call it.
    """

    queue: str
    prefetch: int
    exchange: str | None = None
    key: str = ""


class Consumer(Link):
    """Consumes `subscriptions` over one connection.

    With `lock`, the name of a queue that only one connection can have, it consumes nothing until it
    has that: of several such consumers exactly one is active, on all of its queues, and another
    takes over when its connection ends. It then empties the queues of `purge`, but for what
    is unacknowledged, before anything is delivered.

    A consumer `beside` another link is connected only while that is ready; whoever has both tells
    it of the other's end by `follow`.
    """

    def __init__(
        self,
        url: str,
        name: str,
        subscriptions: Sequence[Subscription],
        *,
        lock: str | None = None,
        purge: Sequence[str] = (),
        beside: Link | None = None,
    ) -> None:
        """Remember what to consume; see `start`. Raises BrokerError for a malformed URL."""
        super().__init__(url, name)
        self._beside = beside
        self._purge = tuple(purge)
        self._begin: Callable[[], None] = lambda: None
        self._end: Callable[[], None] = lambda: None
        self._subscriptions = tuple(subscriptions)
        self._lock = lock
        self._inbox: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._backlog = 0
        self._waited = False  # in this turn of the loop; the link's thread's own
        self._room = threading.Condition()
        self._deliver: Callable[[Delivery], None] | None = None
        self._stopped = threading.Event()
        self._dispatcher = threading.Thread(
            target=self._dispatch, name=f"deliver-{name}", daemon=True
        )

    def start(
        self,
        deliver: Callable[[Delivery], None],
        begin: Callable[[], None] | None = None,
        end: Callable[[], None] | None = None,
    ) -> None:
        """Begin to hand messages to `deliver`, one after the other, on one thread.

        On the link's thread, `begin` is called each time before deliveries begin (anew), `end` each
        time the connection is gone.

        It may take its time: what waits for it is bounded by the subscriptions' prefetch, and
        while more than 16 MiB wait, little is read every few seconds, to keep the connection.
        If it raises, the message goes back into its queue.
        """
        self._deliver = deliver
        self._begin = begin or self._begin
        self._end = end or self._end
        self._dispatcher.start()
        self.open()

    def stop(self) -> None:
        """Deliver no more. What was delivered can still be acknowledged until `close`."""
        self._stopped.set()
        self.call(self._cancel)

    def close(self) -> None:
        """Stop and end the connection; what is not acknowledged goes back into its queue."""
        self._stopped.set()
        super().close()
        self._inbox.put(None)

    def follow(self) -> None:
        """End the connection if the link beside which it is has lost its own."""
        if not self._may_connect():
            self.call(self._close_connection)

    def ack(self, token: Token) -> None:
        """Acknowledge; a void token is passed over."""
        self.call(partial(self._settle, token, "basic_ack"))

    def requeue(self, token: Token) -> None:
        """Put the message back; a void token is passed over."""
        self.call(partial(self._settle, token, "basic_nack", requeue=True))

    def reject(self, token: Token) -> None:
        """Make it a dead letter; a void token is passed over."""
        self.call(partial(self._settle, token, "basic_nack", requeue=False))

    def _settle(self, token: Token, verb: str, **how: bool) -> None:
        if token.epoch == self.epoch and self._channel is not None and self._channel.is_open:
            getattr(self._channel, verb)(token.tag, **how)

    def _steps(self) -> Sequence[Step]:
        steps: list[Step] = [self._heed_other, self._heed_cancel]
        if self._lock is not None:
            steps.append(partial(_take, self._lock))
        steps += [partial(_empty, name) for name in self._purge]
        steps.append(self._announce)
        for subscription in self._subscriptions:
            steps += self._subscribe(subscription)
        return steps

    def _may_connect(self) -> bool:
        return self._beside is None or self._beside.is_ready

    def _heed_other(self, channel: Any, go_on: Callable[..., None]) -> None:
        """Go on unless the other link was lost before there was a connection to be ended."""
        if self._may_connect():
            go_on()
        else:
            self._close_connection()

    def _heed_cancel(self, channel: Any, go_on: Callable[..., None]) -> None:
        """Begin anew when the broker ends a subscription, as when its queue is deleted or moves."""
        channel.add_on_cancel_callback(lambda _: self._close_connection())
        go_on()

    def _announce(self, channel: Any, go_on: Callable[..., None]) -> None:
        self._begin()
        go_on()

    def _subscribe(self, wanted: Subscription) -> list[Step]:
        names = {"queue": wanted.queue}

        def limit(channel: Any, go_on: Callable[..., None]) -> None:
            channel.basic_qos(prefetch_count=wanted.prefetch, callback=go_on)

        def declare(channel: Any, go_on: Callable[..., None]) -> None:
            def declared(frame: Any) -> None:
                names["queue"] = frame.method.queue
                channel.queue_bind(names["queue"], wanted.exchange, wanted.key, callback=go_on)

            channel.queue_declare("", exclusive=True, auto_delete=True, callback=declared)

        def consume(channel: Any, go_on: Callable[..., None]) -> None:
            channel.basic_consume(
                names["queue"], partial(self._on_message, wanted.queue), callback=go_on
            )

        return [limit, consume] if wanted.exchange is None else [limit, declare, consume]

    def _on_message(
        self, source: str, channel: Any, method: Any, properties: Any, body: bytes
    ) -> None:
        # Of a first delivery it is the client's, and may be anything.
        counted = (properties.headers or {}).get("x-delivery-count", 0)
        self._await_room(len(body))
        self._inbox.put(
            Delivery(
                Token(source, self.epoch, method.delivery_tag),
                body,
                properties.reply_to,
                _text(method.routing_key),
                max(counted if isinstance(counted, int) else 0, int(method.redelivered)),
            )
        )

    def _await_room(self, size: int) -> None:
        """Count a message in. A link that does not read meanwhile has the broker wait.

        It waits once in a turn of the loop, whatever number of messages a turn brings: in between,
        heartbeats and acknowledgements go out.
        """
        with self._room:
            if not self._waited and not self._room.wait_for(
                lambda: self._backlog < _BACKLOG_BYTES, _BACKLOG_SECONDS
            ):
                self._waited = True
                self._connection.ioloop.call_later(0, self._next_turn)
            self._backlog += size

    def _next_turn(self) -> None:
        self._waited = False

    def _lost(self) -> None:
        self._waited = False
        self._end()

    def _dispatch(self) -> None:
        assert self._deliver is not None  # noqa: S101 - set by `start`
        while (delivery := self._inbox.get()) is not None:
            with self._room:
                self._backlog -= len(delivery.body)
                self._room.notify()
            if self._stopped.is_set() or delivery.token.epoch != self.epoch:
                continue  # it goes, or has gone, back to the broker
            try:
                self._deliver(delivery)
            except Exception:
                _log.exception("%s: a message could not be dealt with", self._name)
                self.requeue(delivery.token)

    def _cancel(self) -> None:
        if self._channel is not None and self._channel.is_open:
            for tag in list(self._channel.consumer_tags):
                self._channel.basic_cancel(tag)


def _text(name: str | bytes) -> str:
    """Return a name as text; what a sender writes that is no UTF-8 is left as bytes by pika."""
    return name if isinstance(name, str) else name.decode(errors="replace")


def _take(lock: str, channel: Any, go_on: Callable[..., None]) -> None:
    """Declare a queue that is ours alone; if another connection has it, the channel is closed."""
    channel.queue_declare(lock, exclusive=True, callback=go_on)


def _empty(name: str, channel: Any, go_on: Callable[..., None]) -> None:
    """Remove what waits in a queue."""
    channel.queue_purge(name, callback=go_on)
