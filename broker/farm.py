"""What scheduler and workers publish and consume, by the topology's names."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from broker.consumer import Consumer, Delivery, Subscription, Token
from broker.dramatiq_broker import task_message
from broker.link import Link
from broker.publisher import Confirmed, Message, Publisher
from broker.topology import OUTCOME_KEY, SEEN_KEY, Names, sent_by

REQUESTS_AT_ONCE = 60_000  # what a scheduler holds unacknowledged; the rest waits in the queue
_CONTROL_AT_ONCE = 200
_OUTCOMES_AT_ONCE = 500
_SEEN_AT_ONCE = 500
# Bodies that are kept so that a dead letter can go with its reason: none that is far larger than a
# request may be, for a tenant can send as many as the broker takes.
_BODIES, _BODIES_BYTES, _LETTER_BYTES = 256, 32 * 1024 * 1024, 1024 * 1024


Observe = Callable[[str, str], None]  # what was published, and what the broker said


def _unobserved(to: str, outcome: str) -> None:
    """Note nothing."""


class FarmPublisher:
    """The farm's messages on one `Publisher`; safe to share between threads."""

    def __init__(
        self,
        publisher: Publisher,
        names: Names | None = None,
        pool: str = "scheduler",
        observe: Observe = _unobserved,
    ) -> None:
        """Publish by `publisher`, which the caller opens and closes; a worker as one of `pool`.

        `observe` is told of each message that must arrive what it was, ``task``, ``outcome``,
        ``result`` or ``reply``, and whether it was ``taken``, ``returned`` or ``refused``.
        """
        self._publisher = publisher
        self._names = names or Names()
        self._pool = pool
        self._observe = observe

    def send(self, pool: str, body: bytes, confirmed: Confirmed) -> None:
        """Put a task into the pool's queue."""
        queue, message = task_message(pool, body, self._names)
        self._publisher.publish(
            Message("", queue, message, content_type="application/json"),
            _observed(self._observe, "task", confirmed),
        )

    def kill(self, pool: str, body: bytes) -> None:
        """Tell every worker of the pool at once, as soon as there is a connection."""
        message = Message(self._names.kills, pool, body, lasting=False)
        self._publisher.publish(message, lambda _: None)  # that none hears it is no error

    def publish(self, routing_key: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        """Publish an event; that nobody listens is no error."""
        message = Message(self._names.results, routing_key, body, lasting=confirmed is not None)
        if confirmed is None:
            self._publisher.publish(message)
        else:
            told = _observed(self._observe, "result", _unless_unheard(confirmed))
            self._publisher.publish(message, told)

    def reply(self, queue: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        """Send into a client's own queue; NotRouted if there is none."""
        told = confirmed and _observed(self._observe, "reply", confirmed)
        self._publisher.publish(Message("", queue, body), told)

    def outcome(self, body: bytes, confirmed: Confirmed) -> None:
        """Tell the scheduler what became of a task."""
        key = sent_by(self._pool, OUTCOME_KEY)
        told = _observed(self._observe, "outcome", confirmed)
        self._publisher.publish(Message(self._names.workers, key, body), told)

    def seen(self, body: bytes) -> None:
        """Tell the scheduler that we live, or how far we are; may be lost."""
        key = sent_by(self._pool, SEEN_KEY)
        self._publisher.publish(Message(self._names.workers, key, body, lasting=False))


class SchedulerSource:
    """All that the scheduler consumes; active in one of several schedulers at a time."""

    def __init__(
        self,
        url: str,
        publisher: Publisher,
        names: Names | None = None,
        *,
        requests_at_once: int = REQUESTS_AT_ONCE,
        pools: Sequence[str] = (),
        observe: Observe = _unobserved,
    ) -> None:
        """Consume nothing yet; `publisher` takes the dead letters, of each of which `observe` is
        told as `FarmPublisher` tells, as a ``dead_letter``.

        What waits in the queues of `pools` is dropped when we become active: it was sent by a
        scheduler whose memory of it is gone, and what is still wanted we send ourselves. Left
        there, it would be done beside that.
        """
        self._names = names or Names()
        self._publisher = publisher
        self._observe = observe
        self._bodies: OrderedDict[Token, Delivery] = OrderedDict()
        self._bytes = 0  # of these
        self._guard = threading.Lock()
        subscriptions = [
            Subscription(self._names.control, _CONTROL_AT_ONCE),
            Subscription(self._names.outcomes, _OUTCOMES_AT_ONCE),
            Subscription(self._names.seen, _SEEN_AT_ONCE),
        ]
        self._words = Consumer(
            url,
            "scheduler",
            subscriptions,
            lock=self._names.lock,
            purge=[self._names.pool(pool) for pool in pools],
        )
        # On a connection of their own: requests are made to wait while the store is slow, and
        # heartbeats, outcomes and cancels must not wait behind them.
        wanted = Subscription(self._names.compile_requests, requests_at_once)
        self._requests = Consumer(url, "scheduler requests", [wanted], beside=self._words)

    @property
    def links(self) -> dict[str, Link]:
        """The connections, under the names that operators know them by."""
        return {"control": self._words, "requests": self._requests}

    @property
    def is_ready(self) -> bool:
        """Whether we are the active scheduler and hear all there is to hear."""
        return self._words.is_ready and self._requests.is_ready

    def start(
        self, deliver: Callable[[Delivery], None], active: Callable[[], None] = lambda: None
    ) -> None:
        """Begin to deliver as soon as no other scheduler is active.

        `active` is called, on the link's thread, each time before deliveries begin. `deliver` may
        keep requests waiting, and is called for the rest meanwhile, by another thread.
        """

        def remembered(delivery: Delivery) -> None:
            if len(delivery.body) <= _LETTER_BYTES:
                self._remember(delivery)
            deliver(delivery)

        self._words.start(remembered, active, self._requests.follow)
        self._requests.start(remembered)

    def stop(self) -> None:
        """Deliver no more; acknowledging still works until `close`."""
        self._requests.stop()
        self._words.stop()

    def close(self) -> None:
        """End; another scheduler becomes active, and what is not acknowledged goes to it."""
        self._requests.close()
        self._words.close()

    def ack(self, token: Token) -> None:
        """Acknowledge; a void token is passed over."""
        self._recall(token)
        self._consumer(token).ack(token)

    def dead_letter(self, token: Token, reason: str) -> None:
        """Keep the message aside with `reason`, then acknowledge it.

        If it was delivered long ago, is large, or cannot be published, the broker keeps it aside
        without.
        """
        delivery = self._recall(token)
        if delivery is None:
            self._consumer(token).reject(token)
            self._observe("dead_letter", "taken")
            return
        headers = {"x-reason": reason[:1000], "x-queue": token.source}
        letter = Message(self._names.dead, token.source, delivery.body, headers=headers)

        def confirmed(error: Exception | None) -> None:
            consumer = self._consumer(token)
            settle = consumer.ack if error is None else consumer.reject
            settle(token)

        self._publisher.publish(letter, _observed(self._observe, "dead_letter", confirmed))

    def _remember(self, delivery: Delivery) -> None:
        with self._guard:
            self._bodies[delivery.token] = delivery
            self._bytes += len(delivery.body)
            while len(self._bodies) > _BODIES or self._bytes > _BODIES_BYTES:
                self._bytes -= len(self._bodies.popitem(last=False)[1].body)

    def _recall(self, token: Token) -> Delivery | None:
        with self._guard:
            delivery = self._bodies.pop(token, None)
            self._bytes -= len(delivery.body) if delivery is not None else 0
        return delivery

    def _consumer(self, token: Token) -> Consumer:
        return self._requests if token.source == self._names.compile_requests else self._words


def kills_of(pool: str, names: Names | None = None) -> Subscription:
    """Return the subscription by which a worker of `pool` hears what to give up."""
    return Subscription("kills", _CONTROL_AT_ONCE, (names or Names()).kills, pool)


def events_of(pattern: str, names: Names | None = None) -> Subscription:
    """Return the subscription by which a client hears events, such as ``tenant.job.*``."""
    return Subscription("events", _SEEN_AT_ONCE, (names or Names()).results, pattern)


def _observed(observe: Observe, to: str, confirmed: Confirmed) -> Confirmed:
    from broker.errors import NotRouted

    def told(error: Exception | None) -> None:
        failed = "returned" if isinstance(error, NotRouted) else "refused"
        observe(to, "taken" if error is None else failed)
        confirmed(error)

    return told


def _unless_unheard(confirmed: Confirmed) -> Confirmed:
    from broker.errors import NotRouted

    return lambda error: confirmed(None if isinstance(error, NotRouted) else error)
