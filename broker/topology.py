"""All exchanges, queues and bindings of the farm, as data, in this one place.

Every queue that holds work is a quorum queue: it survives the death of a broker node, counts the
deliveries of each message and hands dead letters over at least once. `topology` says what there
is, `broker.declaring` makes it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Argument = str | int | bool

# A message that was delivered oftener is dead; these are only there to end what is endless. Every
# restart of a scheduler costs each waiting request a delivery. A task that is delivered a third
# time is given back to the scheduler, which judges why (scheduler/deaths.py); that a worker dies
# before it can even do that is not the task's doing.
REQUEST_DELIVERIES = 1000
TASK_DELIVERIES = 12
_WAITING = 100_000  # messages in a queue; then publishers are refused, and know it
_DEAD = 100_000
_SEEN = 10_000
_SEEN_MILLISECONDS = 60_000

COMPILE_KEY, CANCEL_KEY, STATUS_KEY = "compile", "cancel", "status"
OUTCOME_KEY, SEEN_KEY = "outcome", "seen"


def sent_by(who: str, what: str) -> str:
    """Return the routing key under which `who`, a tenant or a pool, sends `what`, a key of these.

    The broker lets a user publish under its own keys alone (`broker.powers`), so it is by the
    routing key that the scheduler knows who speaks.
    """
    return f"{what}.{who}"


def sender(routing_key: str) -> str:
    """Return who has sent under `routing_key`, "" for none that is anybody's."""
    return routing_key.partition(".")[2]


@dataclass(frozen=True)
class Exchange:
    """A durable exchange; `kind` is ``direct``, ``topic`` or ``fanout``."""

    name: str
    kind: str
    about: str


@dataclass(frozen=True)
class Queue:
    """A durable queue with the arguments it is declared with."""

    name: str
    about: str
    arguments: dict[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True)
class Binding:
    """`queue` gets what is published to `exchange` under `key`."""

    exchange: str
    queue: str
    key: str


@dataclass(frozen=True)
class Names:
    """What everything is called. A `prefix` keeps two farms, or two tests, on one broker apart."""

    prefix: str = ""

    @property
    def requests(self) -> str:
        """Exchange that clients publish to: ``compile``, ``cancel`` or ``status.<tenant>``."""
        return f"{self.prefix}tinymlaas.requests"

    @property
    def results(self) -> str:
        """Topic exchange that clients hear from, by ``<tenant>.<job id>.<state>``."""
        return f"{self.prefix}tinymlaas.results"

    @property
    def workers(self) -> str:
        """Exchange that workers publish to: ``outcome`` or ``seen.<pool>``."""
        return f"{self.prefix}tinymlaas.pools"

    @property
    def kills(self) -> str:
        """Exchange by which every worker of a pool is told at once; the key is the pool."""
        return f"{self.prefix}tinymlaas.kills"

    @property
    def dead(self) -> str:
        """Exchange of dead letters."""
        return f"{self.prefix}tinymlaas.dead"

    @property
    def compile_requests(self) -> str:
        """Queue of compile requests."""
        return f"{self.prefix}compile.requests"

    @property
    def control(self) -> str:
        """Queue of cancellations and questions."""
        return f"{self.prefix}compile.control"

    @property
    def outcomes(self) -> str:
        """Queue of what became of tasks."""
        return f"{self.prefix}scheduler.outcomes"

    @property
    def seen(self) -> str:
        """Queue of heartbeats and progress of workers."""
        return f"{self.prefix}scheduler.heartbeats"

    @property
    def dead_letters(self) -> str:
        """Queue of messages that nobody could deal with, but those of pools."""
        return f"{self.prefix}dead.letters"

    @property
    def lock(self) -> str:
        """Exclusive queue that the one active scheduler's connection holds; see `consumer`."""
        return f"{self.prefix}scheduler.active"

    def pool(self, name: str) -> str:
        """Queue of a pool's tasks."""
        return f"{self.prefix}pool.{name}"

    def pool_delayed(self, name: str) -> str:
        """Queue of a pool's tasks that wait before they are tried again (dramatiq's name)."""
        return f"{self.pool(name)}.DQ"

    def pool_dead(self, name: str) -> str:
        """Queue of a pool's tasks that were given up (dramatiq's name)."""
        return f"{self.pool(name)}.XQ"


@dataclass(frozen=True)
class Topology:
    """Everything that must exist on the broker before anybody may publish or consume."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]

    def lines(self) -> Iterator[str]:
        """Yield the topology for a person, one line each."""
        for exchange in self.exchanges:
            yield f"exchange {exchange.name} ({exchange.kind}): {exchange.about}"
        for queue in self.queues:
            yield f"queue {queue.name}: {queue.about}"
            for name, value in queue.arguments.items():
                yield f"    {name} = {value}"
        for binding in self.bindings:
            yield f"binding {binding.exchange} -> {binding.queue}: {binding.key}"


def topology(pools: Iterable[str], names: Names | None = None) -> Topology:
    """Return the farm's topology for `pools`, by their names."""
    names = names or Names()
    exchanges = (
        Exchange(names.requests, "topic", "clients publish requests here"),
        Exchange(names.results, "topic", "events: <tenant>.<job id>.<state>"),
        Exchange(names.workers, "topic", "workers publish outcomes and heartbeats here"),
        Exchange(names.kills, "direct", "tells all workers of a pool to give up a task"),
        Exchange(names.dead, "topic", "dead letters, under the name of their queue"),
    )
    queues = (
        Queue(
            names.compile_requests,
            "requests until their result is out",
            _work(names.compile_requests, names, REQUEST_DELIVERIES, single=True),
        ),
        Queue(
            names.control,
            "cancellations and questions",
            _work(names.control, names, REQUEST_DELIVERIES, single=True),
        ),
        Queue(
            names.outcomes,
            "what became of tasks",
            _work(names.outcomes, names, REQUEST_DELIVERIES, single=True),
        ),
        Queue(
            names.seen,
            "heartbeats and progress of workers; the oldest are dropped",
            # Of one node's own it would have no scheduler be active while that node is away.
            _quorum(REQUEST_DELIVERIES, _SEEN)
            | {"x-overflow": "drop-head", "x-message-ttl": _SEEN_MILLISECONDS},
        ),
        Queue(names.dead_letters, "kept until a person deals with them", _kept()),
        *(queue for pool in sorted(set(pools)) for queue in pool_queues(pool, names)),
    )
    bindings = (
        Binding(names.requests, names.compile_requests, sent_by("*", COMPILE_KEY)),
        Binding(names.requests, names.control, sent_by("*", CANCEL_KEY)),
        Binding(names.requests, names.control, sent_by("*", STATUS_KEY)),
        Binding(names.requests, names.control, STATUS_KEY),  # the operator's: of all tenants
        Binding(names.workers, names.outcomes, sent_by("*", OUTCOME_KEY)),
        Binding(names.workers, names.seen, sent_by("*", SEEN_KEY)),
        Binding(names.dead, names.dead_letters, "#"),
    )
    return Topology(exchanges, queues, bindings)


def of_worker(pool: str, names: Names | None = None) -> Topology:
    """Return what of the topology a worker of `pool` needs."""
    names, whole = names or Names(), topology([pool], names)
    needed = (names.workers, names.kills)
    return Topology(
        tuple(each for each in whole.exchanges if each.name in needed), pool_queues(pool, names), ()
    )


def pool_queues(pool: str, names: Names) -> tuple[Queue, Queue, Queue]:
    """Return the queues of one pool: its tasks, those that wait, those given up."""
    return (
        Queue(names.pool(pool), f"tasks of the pool {pool}", task_arguments(names.pool_dead(pool))),
        Queue(
            names.pool_delayed(pool),
            f"tasks of the pool {pool} that are tried again later",
            # A worker holds them while they wait; that it dies then is not their fault.
            task_arguments(names.pool_dead(pool), deliveries=REQUEST_DELIVERIES),
        ),
        Queue(names.pool_dead(pool), f"tasks of the pool {pool} that were given up", _kept()),
    )


def task_arguments(dead_queue: str, deliveries: int = TASK_DELIVERIES) -> dict[str, Argument]:
    """Return the arguments of a queue of tasks whose dead letters go straight to `dead_queue`."""
    return _quorum(deliveries, _WAITING) | {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue,
        "x-dead-letter-strategy": "at-least-once",
    }


def dead_arguments() -> dict[str, Argument]:
    """Return the arguments of a queue that keeps dead letters until somebody deals with them."""
    return _kept()


def _work(queue: str, names: Names, deliveries: int, *, single: bool) -> dict[str, Argument]:
    arguments = _quorum(deliveries, _WAITING) | {
        "x-dead-letter-exchange": names.dead,
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
    }
    return arguments | {"x-single-active-consumer": True} if single else arguments


def _kept() -> dict[str, Argument]:
    # Read by people again and again, so without a limit of deliveries that matters.
    return _quorum(REQUEST_DELIVERIES, _DEAD)


def _quorum(deliveries: int, length: int) -> dict[str, Argument]:
    """Arguments of a quorum queue; `x-delivery-limit` counts the deliveries after the first.

    At-least-once dead-lettering works with `reject-publish` only.
    """
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": deliveries - 1,
        "x-max-length": length,
        "x-overflow": "reject-publish",
    }
