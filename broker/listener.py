"""What a client hears: answers and events, in a queue of its own that lives as long as it does."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from broker.link import Link, Step

_log = logging.getLogger(__name__)


class Listener(Link):
    """One private queue, for answers by its name and for what `listen` binds to it.

    Nothing is acknowledged and nothing repeated: what is said while the connection is lost goes
    unheard. Listeners ask afterwards (`epoch` tells them that the connection is another one).
    """

    def __init__(
        self, url: str, name: str, exchange: str, deliver: Callable[[bytes, bool], None]
    ) -> None:
        """Hear from the topic `exchange` what is bound later; see `open`.

        `deliver` gets each message, and whether it was sent to us alone; it is called on the
        link's thread and must not block. Raises BrokerError for a malformed URL.
        """
        super().__init__(url, name)
        self.queue = f"reply.{secrets.token_hex(16)}"
        self._exchange = exchange
        self._deliver = deliver
        self._topics: Counter[str] = Counter()
        self._bound: set[str] = set()
        self._changed = threading.Condition()

    def listen(self, topic: str, seconds: float) -> bool:
        """Hear events under `topic` from now on; return whether that is so within `seconds`.

        If it is not, it will be as soon as there is a connection.
        """
        with self._changed:
            self._topics[topic] += 1
        self.call(partial(self._bind, topic))
        with self._changed:
            return self._changed.wait_for(lambda: topic in self._bound, seconds)

    def unlisten(self, topic: str) -> None:
        """Take back one `listen`."""
        with self._changed:
            self._topics[topic] -= 1
            if self._topics[topic] > 0:
                return
            del self._topics[topic]
        self.call(partial(self._unbind, topic))

    def _bind(self, topic: str) -> None:
        if not self.is_ready or self._channel is None or not self._channel.is_open:
            return  # bound with all others when there is a connection
        with self._changed:
            if topic in self._bound or topic not in self._topics:
                return

        def bound(_: Any) -> None:
            with self._changed:
                self._bound.add(topic)
                self._changed.notify_all()
            self._unbind(topic)  # if it was given up before this answer came

        self._channel.queue_bind(self.queue, self._exchange, topic, callback=bound)

    def _unbind(self, topic: str) -> None:
        with self._changed:
            if topic in self._topics or topic not in self._bound:
                return
            self._bound.discard(topic)
        if self._channel is not None and self._channel.is_open:
            self._channel.queue_unbind(self.queue, self._exchange, topic)

    def _steps(self) -> Sequence[Step]:
        def declare(channel: Any, go_on: Callable[..., None]) -> None:
            channel.add_on_cancel_callback(lambda _: self._close_connection())
            channel.queue_declare(self.queue, exclusive=True, auto_delete=True, callback=go_on)

        def consume(channel: Any, go_on: Callable[..., None]) -> None:
            channel.basic_consume(
                self.queue, self._on_message, auto_ack=True, exclusive=True, callback=go_on
            )

        return [declare, consume]

    def _got_ready(self) -> None:
        self._ready.set()  # first, so that no topic that comes now is left out
        with self._changed:
            topics = list(self._topics)
        for topic in topics:
            self._bind(topic)

    def _lost(self) -> None:
        with self._changed:
            self._bound.clear()

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        try:
            self._deliver(body, method.exchange == "")
        except Exception:  # one event less for one listener, not the end of all of them
            _log.exception("%s: a message could not be dealt with", self._name)
