"""The worker pools' broker: dramatiq on quorum queues, with every default that loses work changed.

dramatiq itself knows classic queues only, publishes without confirms, fetches more than it works
on, and drops dead messages after a week. Its version is pinned, for what is overridden here is not
promised to stay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.middleware import Middleware, Retries, ShutdownNotifications
from dramatiq.worker import Worker

from broker.connecting import parameters
from broker.errors import BrokerError
from broker.topology import REQUEST_DELIVERIES, Names, dead_arguments, task_arguments

ACTOR = "work"
DELIVERIES = "earlier_deliveries"  # option of a message: how often it was delivered before
_RETRIES = 2
_FIRST_PAUSE_MILLISECONDS = 1_000
_LONGEST_PAUSE_MILLISECONDS = 30_000  # far below the time a broker lets a message wait for its ack
_DELAYED_AT_ONCE = 16
_IDLE_MILLISECONDS = 500


class QuorumBroker(RabbitmqBroker):  # type: ignore[misc]
    """dramatiq's RabbitMQ broker for one pool or several, on the queues of `broker.topology`.

    It is never made dramatiq's global broker.
    """

    def __init__(
        self,
        url: str,
        name: str,
        middleware: list[Middleware] | None = None,
        *,
        limited: bool = False,
    ) -> None:
        """Remember where to connect; nothing is connected yet.

        A `limited` user may neither declare queues, which must be there then, nor publish to them:
        what fails is not tried again here but a dead letter, which the scheduler sends anew.

        Raises:
            BrokerError: the URL is malformed.
        """
        retries = Retries(
            max_retries=0 if limited else _RETRIES,
            min_backoff=_FIRST_PAUSE_MILLISECONDS,
            max_backoff=_LONGEST_PAUSE_MILLISECONDS,
        )
        super().__init__(
            host="unused",
            confirm_delivery=True,
            middleware=[retries, ShutdownNotifications(), *(middleware or [])],
        )
        self.parameters = parameters(url, name)
        self.turned_at: dict[str, float] = {}
        self._limited = limited

    def last_turn(self) -> float:
        """Return when the consumer that has turned least lately did, in `time.monotonic` seconds.

        Each turns twice a second while it is connected. One that does not waits, maybe for ever,
        for an answer that the broker owes it: dramatiq's connection has no limit for that.
        """
        return min(self.turned_at.values(), default=time.monotonic())

    @property
    def consumer_class(self) -> type[_QuorumConsumer]:
        """Consumer that tells how often a message was delivered before."""
        return _QuorumConsumer

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return dict(task_arguments(f"{queue_name}.XQ"))

    def _declare_queue(self, queue_name: str) -> Any:
        return self._found(queue_name) if self._limited else super()._declare_queue(queue_name)

    def _found(self, queue_name: str) -> Any:
        return self.channel.queue_declare(queue=queue_name, passive=True)

    def _declare_dq_queue(self, queue_name: str) -> Any:
        if self._limited:
            return self._found(f"{queue_name}.DQ")
        arguments = task_arguments(f"{queue_name}.XQ", deliveries=REQUEST_DELIVERIES)
        return self.channel.queue_declare(
            queue=f"{queue_name}.DQ", durable=True, arguments=dict(arguments)
        )

    def _declare_xq_queue(self, queue_name: str) -> Any:
        if self._limited:
            return self._found(f"{queue_name}.XQ")
        return self.channel.queue_declare(
            queue=f"{queue_name}.XQ", durable=True, arguments=dict(dead_arguments())
        )


class _QuorumConsumer(_RabbitmqConsumer):  # type: ignore[misc]
    """Puts the broker's count of earlier deliveries into the message's options.

    It settles its own messages only. There is one for each connection, and on each the broker
    counts from 1: what a lost one has delivered would settle another message by its number.
    """

    def __init__(self, broker: QuorumBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self._turned_at, self._queue = broker.turned_at, queue_name
        self._counted = 0
        fetched: Iterator[tuple[Any, Any, Any]] = self.iterator
        self.iterator: Iterator[tuple[Any, Any, Any]] = map(self._count, fetched)

    def _count(self, item: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        method, properties, _ = item
        if method is not None:
            self._counted = int((properties.headers or {}).get("x-delivery-count", 0))
        return item

    def __next__(self) -> Any:
        self._turned_at[self._queue] = time.monotonic()
        message = super().__next__()
        if message is not None:
            message.options[DELIVERIES] = self._counted
            message.delivered_by = self
        return message

    def ack(self, message: Any) -> None:
        """Acknowledge; nothing to do if the broker has put the message back."""
        if message.delivered_by is self:
            super().ack(message)

    def nack(self, message: Any) -> None:
        """Make it a dead letter; nothing to do if the broker has put the message back."""
        if message.delivered_by is self:
            super().nack(message)


def make_actor(broker: QuorumBroker, queue: str, work: Callable[[str, int], None]) -> Any:
    """Return the actor that hands each task of `queue` to `work`: its text, and how often it was
    delivered before (every time but the first a worker has died of it, or beside it).

    An exception of `work` is tried again twice, later; then the message is a dead letter.
    """

    def run(body: str) -> None:
        message = dramatiq.middleware.CurrentMessage.get_current_message()
        work(body, int(message.options.get(DELIVERIES, 0)) if message is not None else 0)

    if not any(isinstance(m, dramatiq.middleware.CurrentMessage) for m in broker.middleware):
        broker.add_middleware(dramatiq.middleware.CurrentMessage())
    return dramatiq.actor(run, actor_name=ACTOR, queue_name=queue, broker=broker)


def make_worker(broker: QuorumBroker, queue: str) -> Worker:
    """Return a worker of one thread that fetches one message: a worker that dies takes none but
    its own task along. Not started yet.
    """
    worker = Worker(broker, queues={queue}, worker_threads=1, worker_timeout=_IDLE_MILLISECONDS)
    worker.queue_prefetch = 1
    worker.delay_prefetch = _DELAYED_AT_ONCE
    return worker


def finish(worker: Worker, meanwhile: Callable[[], None], every_seconds: float) -> None:
    """Stop `worker` once what it does is done, however long that takes (its own `stop` waits ten
    minutes and then has the task delivered to another); call `meanwhile` now and then.
    """
    for thread in worker.workers:
        thread.stop()
        while thread.is_alive():
            thread.join(every_seconds)
            meanwhile()
    worker.stop()


def task_message(pool: str, body: bytes, names: Names | None = None) -> tuple[str, bytes]:
    """Return queue and bytes of the dramatiq message by which `body` becomes a task of `pool`.

    Raises:
        BrokerError: `body` is no UTF-8 text.
    """
    queue = (names or Names()).pool(pool)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BrokerError(f"a task is JSON in UTF-8: {error}") from error
    message = dramatiq.Message(
        queue_name=queue, actor_name=ACTOR, args=(text,), kwargs={}, options={}
    )
    return queue, message.encode()


def text_of(body: bytes) -> str:
    """Return the task inside a dramatiq message, such as one of the dead letters of a pool.

    Raises:
        BrokerError: it is no such message.
    """
    try:
        return str(json.loads(body)["args"][0])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BrokerError("this is no dramatiq message of ours") from error
