"""What the scheduler needs of the world; broker and storage adapters fill these in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.messages import CompileOrder, JobEnded
from tinymlaas.contract.pool_messages import PoolDescription


class Token(NamedTuple):
    """What a source needs to acknowledge one delivery.

    `epoch` grows with each connection: a token of an earlier one is void, the broker has put the
    message back and will deliver it again.
    """

    source: str
    epoch: int
    tag: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came. `reply_to` is its AMQP property, believed no more than the body.

    `sender` is the tenant or pool that the broker has let send it, "" for one that speaks for all
    of them (an operator); None where all that comes is of one process with us.
    """

    token: Token
    body: bytes
    reply_to: str | None = None
    sender: str | None = None

    def vouched(self, who: str) -> bool:
        """Return whether `who`, as the body says, is who has sent it."""
        return self.sender is None or self.sender == who


Confirmed = Callable[[Exception | None], None]


class Source(Protocol):
    """The queues we consume. Unacknowledged messages come again after any failure."""

    def start(self, deliver: Callable[[Delivery], None], active: Callable[[], None]) -> None:
        """Begin to deliver. `deliver` may block for a while: then no more of that queue is to be
        read, but requests that wait must not keep other messages waiting.

        `active` is called before the first delivery, and again whenever deliveries begin anew as
        after a loss of the connection: we are the active scheduler now, and what waited in the
        queues of pools has been dropped.
        """
        ...

    def stop(self) -> None:
        """Deliver no more; what is not acknowledged goes back. Acknowledging still works."""
        ...

    def ack(self, token: Token) -> None:
        """Acknowledge: the message is dealt with. A void token is passed over."""
        ...

    def dead_letter(self, token: Token, reason: str) -> None:
        """Keep a message that cannot be dealt with aside, with `reason`."""
        ...


class PoolSender(Protocol):
    """Sends to worker pools. `confirmed` may be called by any thread, once."""

    def send(self, pool: str, body: bytes, confirmed: Confirmed) -> None:
        """Put a task into the pool's queue; `confirmed(None)` once the broker has it."""
        ...

    def kill(self, pool: str, body: bytes) -> None:
        """Tell every worker of the pool at once; may be lost."""
        ...


class EventPublisher(Protocol):
    """Publishes to clients. `confirmed` may be called by any thread, once."""

    def publish(self, routing_key: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        """Publish on the results' topic exchange; without `confirmed` it may be lost."""
        ...

    def reply(self, queue: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        """Send into a client's own queue; an error if there is no such queue."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store knows of an order: the files it lacks, the inspection of the model as given,
    and, where a worker has to prepare something, its job's record.
    """

    record: JobEnded | None = None
    missing: tuple[str, ...] = ()
    inspection: Inspection | None = None


class NotRemembered(Exception):
    """The store would have to be asked."""


class Library(Protocol):
    """The store as the scheduler uses it. Methods block, are thread-safe and raise StoreError."""

    def keep(self, tenant: str, files: Sequence[bytes]) -> None:
        """Store files that came inside a message as the tenant's own."""
        ...

    def look(self, tenant: str, job_id: str, order: CompileOrder, service: str) -> Facts:
        """Return what is known before a job is planned."""
        ...

    def outcomes(self, actions: Mapping[str, str]) -> Mapping[str, Outcome]:
        """Return the stored outcomes of those of `actions`, each with its pool, that have one."""
        ...

    def record(self, tenant: str, job_id: str) -> JobEnded | None:
        """Return how a job has ended, or None if it has not. Asked before anything is built or
        judged; where nothing has to be, `save` tells of it too.
        """
        ...

    def pools(self, names: Sequence[str]) -> Sequence[PoolDescription]:
        """Return what was remembered of those of the pools that are known."""
        ...

    def remember(self, told: PoolDescription) -> None:
        """Keep what is known of a pool, for schedulers that start while it has no worker."""
        ...

    def races(self, core: str) -> Sequence[RaceRecord]:
        """Return past races on a kind of core; none where the store does not tell: it is a hint."""
        ...

    def keep_race(self, core: str, record: RaceRecord) -> None:
        """Keep what came of a race."""
        ...

    def save(self, record: JobEnded, log: bytes | None = None) -> JobEnded:
        """Keep `record` as how its job ended, unless there is a record; return the one kept.

        A `log` is stored first, where the record names it.
        """
        ...


class Clock(Protocol):
    """Time, so that tests have their own."""

    def seconds(self) -> float:
        """Return seconds that only grow."""
        ...

    def utc(self) -> datetime:
        """Return the date and time, with UTC as its zone."""
        ...
