"""Publish with confirms: `confirmed` is told once the broker has the message, not before."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.errors import ACCESS_REFUSED, BrokerError, BrokerUnavailable, NotAllowed, NotRouted
from broker.link import Link, Step

Confirmed = Callable[[Exception | None], None]
_WAITING, _WAITING_BYTES = 20_000, 64 * 1024 * 1024
_ours, _numbers = uuid.uuid4().hex, itertools.count()


@dataclass(frozen=True)
class Message:
    """What to publish, and where. Messages outlive a restart of the broker unless `lasting` is
    False. `id` says which message is a repetition of which.
    """

    exchange: str
    key: str
    body: bytes
    lasting: bool = True
    content_type: str = "application/cloudevents+json"
    reply_to: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    # Not by chance each: that is a system call, for which others get their turn.
    id: str = field(default_factory=lambda: f"{_ours}-{next(_numbers):x}")


class Publisher(Link):
    """Publishes from any thread. What the broker has not confirmed when the connection is lost is
    published again on the next one, in order, so a message may arrive twice but is not lost.
    """

    def __init__(self, url: str, name: str) -> None:
        """Remember where to; see `open`. Raises BrokerError for a malformed URL."""
        super().__init__(url, name)
        self._state = threading.Lock()
        self._waiting: dict[str, tuple[Message, Confirmed]] = {}  # in the order of `publish`
        self._bytes = 0  # of the bodies in `_waiting`
        self._sent: dict[int, str] = {}  # delivery tag to message id; the link's thread's own
        self._on_the_way: set[str] = set()  # the ids in `_sent`
        self._returned: dict[str, str] = {}
        self._refusal = ""  # what RabbitMQ said when it last refused us something
        self._tag = 0

    def publish(self, message: Message, confirmed: Confirmed | None = None) -> None:
        """Publish; `confirmed` is called once, on any thread, and must not block.

        It gets None, NotRouted if no queue takes the message, or BrokerUnavailable if the queue is
        full, too many messages wait already, or the publisher is closed before the broker has
        answered. Without `confirmed` the message may be lost, and is if there is no connection.
        """
        if confirmed is None:
            if self.is_ready:
                self.call(lambda: self._send(message, mandatory=False))
            return
        with self._state:
            room = len(self._waiting) < _WAITING and self._bytes < _WAITING_BYTES
            if room:
                self._waiting[message.id] = (message, confirmed)
                self._bytes += len(message.body)
        if not room:
            # Not raised: that would end a loop that has much to tell while the broker is away.
            confirmed(BrokerUnavailable("too many messages wait for RabbitMQ already"))
            return
        sent = self.is_ready and self.call(lambda: self._send_waiting(message))
        if not sent and self._ending.is_set():
            self._answer(message.id, BrokerUnavailable("the publisher is closed"))

    def publish_and_wait(self, message: Message, seconds: float) -> None:
        """Publish and return when the broker has the message.

        Raises:
            NotRouted: no queue takes it.
            NotAllowed: our user may not publish that there; told after `seconds`.
            BrokerUnavailable: not confirmed within `seconds`; it may arrive all the same.
        """
        done = threading.Event()
        problem: list[Exception | None] = []

        def confirmed(error: Exception | None) -> None:
            problem.append(error)
            done.set()

        self.publish(message, confirmed)
        if not done.wait(seconds):
            self._answer(message.id, None)
            if f"'{message.key}'" in self._refusal:  # rights are by routing key
                raise NotAllowed(
                    f"{self._refusal}; check TINYMLAAS_TENANT, --tenant and TINYMLAAS_AMQP_URL"
                )
            raise BrokerUnavailable(f"RabbitMQ has not taken a message within {seconds:g} s")
        if problem[0] is not None:
            raise problem[0]

    def close(self) -> None:
        """End the connection; what waits for an answer is told that there will be none."""
        super().close()
        for name in list(self._waiting):
            self._answer(name, BrokerUnavailable("the publisher was closed before an answer"))

    def _steps(self) -> Sequence[Step]:
        def confirms(channel: Any, go_on: Callable[..., None]) -> None:
            channel.add_on_return_callback(self._on_return)
            channel.confirm_delivery(self._on_confirm, callback=go_on)

        return [confirms]

    def _got_ready(self) -> None:
        self._ready.set()  # first, so that none published now is left waiting
        with self._state:
            waiting = [message for message, _ in self._waiting.values()]
        for message in waiting:
            self._send_waiting(message)

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if getattr(reason, "reply_code", None) == ACCESS_REFUSED:
            self._refusal = str(getattr(reason, "reply_text", reason))
        super()._on_channel_closed(channel, reason)

    def _lost(self) -> None:
        self._sent.clear()
        self._on_the_way.clear()
        self._returned.clear()
        self._tag = 0

    def _send_waiting(self, message: Message) -> None:
        if message.id in self._waiting and message.id not in self._on_the_way:
            self._send(message, mandatory=True)

    def _send(self, message: Message, *, mandatory: bool) -> None:
        import pika

        if self._channel is None or not self._channel.is_open:
            return
        self._tag += 1
        if mandatory:
            self._sent[self._tag] = message.id
            self._on_the_way.add(message.id)
        properties = pika.BasicProperties(
            content_type=message.content_type,
            delivery_mode=2 if message.lasting else 1,
            message_id=message.id,
            reply_to=message.reply_to,
            headers=dict(message.headers) or None,
        )
        self._channel.basic_publish(
            message.exchange, message.key, message.body, properties, mandatory=mandatory
        )

    def _on_return(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        """Note it; the confirm that follows ends the matter."""
        self._returned[properties.message_id] = method.reply_text

    def _on_confirm(self, frame: Any) -> None:
        import pika

        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = [tag for tag in self._sent if tag <= method.delivery_tag]
        for tag in tags:
            name = self._sent.pop(tag, None)
            if name is None:
                continue
            self._on_the_way.discard(name)
            returned = self._returned.pop(name, None)
            error: BrokerError | None = None
            if returned is not None:
                error = NotRouted(f"no queue takes the message: {returned}")
            elif isinstance(method, pika.spec.Basic.Nack):
                error = BrokerUnavailable("RabbitMQ did not take the message (queue full?)")
            self._answer(name, error)

    def _answer(self, name: str, error: Exception | None) -> None:
        with self._state:
            found = self._waiting.pop(name, None)
            self._bytes -= len(found[0].body) if found is not None else 0
        if found is not None:
            found[1](error)
