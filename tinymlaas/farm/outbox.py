"""Where a worker's messages go: by the broker to the scheduler."""

from __future__ import annotations

import threading

from broker.errors import BrokerUnavailable
from broker.farm import FarmPublisher

# A broker that restarts takes a minute at most; after this the message goes back into its queue.
_TELL_SECONDS = 300.0


class BrokerOutbox:
    """`workers.pool.Outbox`; safe to share between threads."""

    def __init__(self, publisher: FarmPublisher, seconds: float = _TELL_SECONDS) -> None:
        """Wait up to `seconds` for the broker to take what is told."""
        self._publisher = publisher
        self._seconds = seconds

    def tell(self, body: bytes) -> None:
        """See `Outbox.tell`.

        Raises:
            BrokerUnavailable: the broker has not taken it in time; it may have it all the same.
            NotRouted: the scheduler's queue is gone.
        """
        done = threading.Event()
        problem: list[Exception | None] = []

        def confirmed(error: Exception | None) -> None:
            problem.append(error)
            done.set()

        self._publisher.outcome(body, confirmed)
        if not done.wait(self._seconds):
            raise BrokerUnavailable(f"RabbitMQ has not taken an outcome in {self._seconds:g} s")
        if problem[0] is not None:
            raise problem[0]

    def mention(self, body: bytes) -> None:
        """See `Outbox.mention`."""
        self._publisher.seen(body)
