"""The ports in memory: a broker and a clock for tests and for runs in one process."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from scheduler.ports import Confirmed, Delivery, Token


class SystemClock:
    """The machine's clock."""

    def seconds(self) -> float:
        """See `Clock.seconds`."""
        return time.monotonic()

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return datetime.now(UTC)


class MemorySource:
    """`Source` over a queue in memory; its messages outlive whoever consumes it."""

    def __init__(self, name: str) -> None:
        """Begin with an empty queue."""
        self.name = name
        self._lock = threading.RLock()
        self._tags = itertools.count(1)
        self._epoch = 0
        self._waiting: deque[tuple[int, bytes, str | None]] = deque()
        self._unacked: dict[int, tuple[bytes, str | None]] = {}
        self._deliver: Callable[[Delivery], None] | None = None
        self.dead: list[tuple[bytes, str]] = []

    def __len__(self) -> int:
        """Return how many messages are neither acknowledged nor dead."""
        with self._lock:
            return len(self._waiting) + len(self._unacked)

    def put(self, body: bytes, reply_to: str | None = None) -> None:
        """Add a message, as a client's publish does."""
        with self._lock:
            self._waiting.append((next(self._tags), body, reply_to))
        self._flow()

    def start(
        self, deliver: Callable[[Delivery], None], active: Callable[[], None] = lambda: None
    ) -> None:
        """See `Source.start`. One consumer at a time: the one before loses its messages to us."""
        active()
        with self._lock:
            self.stop()
            self._epoch += 1
            self._deliver = deliver
        self._flow()

    def stop(self) -> None:
        """See `Source.stop`."""
        with self._lock:
            self._deliver = None
            back = [(tag, *message) for tag, message in self._unacked.items()]
            self._waiting.extendleft(reversed(back))
            self._unacked.clear()

    def ack(self, token: Token) -> None:
        """See `Source.ack`."""
        with self._lock:
            if token.epoch == self._epoch:
                self._unacked.pop(token.tag, None)

    def dead_letter(self, token: Token, reason: str) -> None:
        """See `Source.dead_letter`."""
        with self._lock:
            message = self._unacked.pop(token.tag, None) if token.epoch == self._epoch else None
            if message is not None:
                self.dead.append((message[0], reason))

    def _flow(self) -> None:
        while True:
            with self._lock:
                deliver = self._deliver
                if deliver is None or not self._waiting:
                    return
                tag, body, reply_to = self._waiting.popleft()
                self._unacked[tag] = (body, reply_to)
                token = Token(self.name, self._epoch, tag)
            deliver(Delivery(token, body, reply_to))  # may wait, and others acknowledge meanwhile


class JoinedSources:
    """Several sources as the one that a scheduler consumes; the tokens' names tell them apart."""

    def __init__(self, *sources: MemorySource) -> None:
        """Join `sources`, each of another name."""
        self._sources = {source.name: source for source in sources}

    def start(self, deliver: Callable[[Delivery], None], active: Callable[[], None]) -> None:
        """See `Source.start`."""
        active()
        for source in self._sources.values():
            source.start(deliver)

    def stop(self) -> None:
        """See `Source.stop`."""
        for source in self._sources.values():
            source.stop()

    def ack(self, token: Token) -> None:
        """See `Source.ack`."""
        self._sources[token.source].ack(token)

    def dead_letter(self, token: Token, reason: str) -> None:
        """See `Source.dead_letter`."""
        self._sources[token.source].dead_letter(token, reason)


class MemoryPools:
    """`PoolSender` that hands tasks and kills to functions."""

    def __init__(self) -> None:
        """Begin with tasks kept by pool until somebody takes them."""
        self.tasks: dict[str, deque[bytes]] = {}
        self.kills: list[tuple[str, bytes]] = []

    def send(self, pool: str, body: bytes, confirmed: Confirmed) -> None:
        """See `PoolSender.send`."""
        self.tasks.setdefault(pool, deque()).append(body)
        confirmed(None)

    def kill(self, pool: str, body: bytes) -> None:
        """See `PoolSender.kill`."""
        self.kills.append((pool, body))


class MemoryPublisher:
    """`EventPublisher` that keeps what it was given, by routing key or queue."""

    def __init__(self, queues: tuple[str, ...] = ()) -> None:
        """Know the reply `queues`; others do not exist."""
        self.queues: dict[str, list[bytes]] = {name: [] for name in queues}
        self.published: list[tuple[str, bytes]] = []

    def publish(self, routing_key: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        """See `EventPublisher.publish`."""
        self.published.append((routing_key, body))
        if confirmed is not None:
            confirmed(None)

    def reply(self, queue: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        """See `EventPublisher.reply`."""
        known = self.queues.get(queue)
        if known is not None:
            known.append(body)
        if confirmed is not None:
            confirmed(None if known is not None else LookupError(f"no queue {queue}"))
