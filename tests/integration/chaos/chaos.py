"""A farm whose parts are killed at random while jobs go through it.

    outcome = run(FULL, seed=7)
    assert not outcome.problems

The jobs are of four tenants: most for the stub compiler, every fourth an action that another job
wants too, and some for a real compiler. Workers are killed every few seconds, schedulers, broker
and store once or twice, each at a time by chance. Killing is SIGKILL of the process alone: what it
has started must find its end by itself.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from broker.connecting import connect
from broker.consumer import Consumer, Delivery, Subscription
from broker.publisher import Message, Publisher
from broker.topology import COMPILE_KEY, Names, dead_arguments, sent_by
from tests.integration.chaos import outcome as checks
from tests.integration.chaos.outcome import Name, Outcome
from tests.integration.chaos.takeover import is_active
from tests.integration.cli.models import small_onnx
from tests.services import running
from tests.services.farm import FarmProcess, RunningFarm, farm, stop
from tests.services.stub_compiler import Stub, install
from tinymlaas.contract.messages import CompileOrder, CompileRequested, JobState, Payload
from workers import guardian

TENANTS = ("red", "green", "blue", "grey")
REAL = "tvm"
_MILLISECONDS = [str(n) for n in range(50, 501, 50)]
_FINAL = [state.value for state in JobState if state.final]
_POLL_SECONDS = 0.25
_CALM_SECONDS = 240.0  # for what is unfinished when nothing is killed any more
_EMPTY_SECONDS = 40.0


@dataclass(frozen=True)
class Size:
    """How much of it: `jobs`, of them `real`; chaos reigns for `seconds`."""

    jobs: int
    real: int
    seconds: float
    scheduler_kills: int
    store_seconds: float
    worker_seconds: float = 3.0  # between two kills
    workers: int = 2
    schedulers: int = 2


FULL = Size(jobs=300, real=10, seconds=110, scheduler_kills=2, store_seconds=10)
SMALL = Size(jobs=24, real=2, seconds=15, scheduler_kills=1, store_seconds=2, worker_seconds=2.5)


@dataclass
class _Ends:
    """Requests that the broker has taken, and all final events there were."""

    publisher: Publisher
    accepted: set[Name] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    def submit(self, names: Names, job_id: str, order: CompileOrder) -> None:
        """Publish a request; it is accepted once it is confirmed."""

        def confirmed(error: Exception | None) -> None:
            if error is None:
                self.accepted.add((order.tenant, job_id))
            else:
                self.refused.append(f"{job_id}: {error}")

        body = CompileRequested(id=job_id, source="chaos", data=order).encoded()
        self.publisher.publish(
            Message(names.requests, sent_by(order.tenant, COMPILE_KEY), body), confirmed
        )

    def heard(self, delivery: Delivery) -> None:
        """Note a final event."""
        self.bodies.append(delivery.body)
        self.ended.add(delivery.routing_key.split(".")[1])


@contextmanager
def _client(url: str, names: Names) -> Iterator[_Ends]:
    """Yield a client whose queue of events outlives restarts of the broker."""
    queue = f"{names.prefix}chaos"
    with connect(url, "chaos") as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments=dict(dead_arguments()))
        for state in _FINAL:
            channel.queue_bind(queue, names.results, f"*.*.{state}")
    publisher = Publisher(url, "chaos")
    consumer = Consumer(url, "chaos", [Subscription(queue, 100)])
    ends = _Ends(publisher)

    def taken(delivery: Delivery) -> None:
        ends.heard(delivery)
        consumer.ack(delivery.token)

    publisher.open()
    consumer.start(taken)
    try:
        yield ends
    finally:
        consumer.close()
        publisher.close()
        with connect(url, "chaos") as connection:
            connection.channel().queue_delete(queue)


class _Mischief:
    """Kills, each kind on a thread of its own, and replaces what it has killed."""

    def __init__(self, size: Size, random: random.Random, running: RunningFarm) -> None:
        self._size = size
        self._random = random
        self._farm = running
        self._over = threading.Event()
        self.done: list[str] = []
        self.failures: list[str] = []

    def plan(self) -> list[threading.Thread]:
        """Return threads that do it all, not yet started."""
        size, draw = self._size, self._random
        parts = [partial(self._workers, random.Random(draw.random()))]
        for _ in range(size.scheduler_kills):
            parts.append(partial(self._at, draw.uniform(0.05, 0.9), self._kill_scheduler))
        # One after the other, so that there are times with neither and with both.
        first, second = draw.sample([self._stop_store, self._restart_broker], 2)
        parts.append(partial(self._at, draw.uniform(0.1, 0.3), first))
        parts.append(partial(self._at, draw.uniform(0.45, 0.6), second))
        return [threading.Thread(target=self._guarded, args=[part]) for part in parts]

    def end(self) -> None:
        """Kill no more."""
        self._over.set()

    def _guarded(self, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:  # a thread's failure is the test's
            self.failures.append(f"{type(error).__name__} {error}")

    def _at(self, share: float, what: Callable[[], None]) -> None:
        """Do it when `share` of the time is over; what is planned is done in any case."""
        self._over.wait(share * self._size.seconds)
        what()

    def _workers(self, draw: random.Random) -> None:
        while not self._over.wait(self._size.worker_seconds):
            pools = self._farm.workers
            alive = [(pool, each) for pool in pools for each in pools[pool] if each.running]
            busy = [pair for pair in alive if "busy" in pair[1].get("/readyz")[1]]
            # Every other time one that works, if any does: most others idle.
            pool, victim = draw.choice(busy if busy and draw.random() < 0.5 else alive)
            self._kill(f"worker of {pool}", victim)
            self._farm.worker(pool)

    def _kill_scheduler(self) -> None:
        """Kill the one that is active, so that another takes over."""
        alive = [each for each in self._farm.schedulers if each.running]
        active = [each for each in alive if is_active(each)]
        self._kill("scheduler", (active or alive)[0])
        self._farm.scheduler()

    def _kill(self, what: str, victim: FarmProcess) -> None:
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        self.done.append(what)
        while victim.running:
            time.sleep(0.01)

    def _stop_store(self) -> None:
        running.seaweedfs().pause()
        self.done.append("store")
        time.sleep(self._size.store_seconds)
        running.seaweedfs().start()

    def _restart_broker(self) -> None:
        self.done.append("broker")
        running.rabbitmq().restart()


def run(size: Size, seed: int) -> Outcome:
    """Return what came of it; also printed, with the seed that does the same again."""
    outcome, draw = Outcome(seed), random.Random(seed)
    with guardian.scratch("chaos") as folder:
        scratch = folder / "tmp"
        scratch.mkdir()
        stub = install(folder / "stub")
        variables = {
            **running.rabbitmq().environment,
            **running.seaweedfs().environment,
            "TMPDIR": str(scratch),
        }
        variables.pop("TINYMLAAS_S3_BUCKET")  # the farm's own is better
        with farm(
            folder / "farm",
            [stub.name, REAL],
            compilers=[stub.folder],
            workers=size.workers,
            schedulers=size.schedulers,
            **variables,
        ) as started:
            _rage(size, draw, started, stub, outcome)
        checks.check_processes(outcome, [started.names.prefix, str(folder)])
        checks.check_folder(outcome, scratch)
    print(f"\nchaos {size} seed {seed}: {_line(outcome)}")
    for problem in outcome.problems:
        print(f"    {problem}")
    return outcome


def _rage(
    size: Size, draw: random.Random, started: RunningFarm, stub: Stub, outcome: Outcome
) -> None:
    began = time.monotonic()
    with _client(started.amqp_url, started.names) as ends:
        mischief = _Mischief(size, draw, started)
        threads = mischief.plan()
        for thread in threads:
            thread.start()
        orders = jobs(size, draw, stub)
        for number, (job_id, order) in enumerate(orders):
            time.sleep(max(0.0, began + 0.6 * size.seconds * number / size.jobs - time.monotonic()))
            ends.submit(started.names, job_id, order)
        wanted = {job_id for job_id, _ in orders}
        _until(lambda: wanted <= ends.ended, began + size.seconds - time.monotonic())
        mischief.end()
        for thread in threads:
            thread.join()
        _until(lambda: wanted <= ends.ended, _CALM_SECONDS)
        outcome.seconds = time.monotonic() - began
        outcome.killed.update(mischief.done)
        outcome.problems += mischief.failures + ends.refused
        outcome.accepted = len(ends.accepted)
        _settle(started)
        checks.check_ends(outcome, ends.accepted, ends.bodies)
        checks.check_records(outcome, ends.bodies, started.store)
        checks.check_compiles(outcome, stub.journal(), ends.bodies, started.store)
        pools = list(started.workers)
        checks.check_queues(outcome, started.amqp_url, started.names, pools)


def jobs(size: Size, draw: random.Random, stub: Stub) -> list[tuple[str, CompileOrder]]:
    """Return job ids and orders; an id begins with the name of the module."""
    real = set(draw.sample(range(size.jobs), size.real))
    model = bytes(small_onnx().SerializeToString())
    made: list[tuple[str, CompileOrder]] = []
    for number in range(size.jobs):
        tenant = draw.choice(TENANTS)
        name = f"m{number if number % 4 else draw.randrange(number + 1)}"
        if number in real:
            name = f"real{number}"
            payload = Payload.of(model, tenant, "small.onnx")
            order = CompileOrder(
                tenant=tenant, name=name, model=payload, board="host", compiler=REAL
            )
        else:
            # The same name takes the same time: it is the same action.
            order = stub.order(tenant, name, milliseconds=random.Random(name).choice(_MILLISECONDS))
        made.append((f"{name}-{number}", order))
    return made


def _settle(started: RunningFarm) -> None:
    """End the workers first, so that their last words are heard; then the schedulers."""
    with connect(started.amqp_url, "chaos") as connection:
        channel = connection.channel()

        def waiting() -> int:
            queues = [started.names.pool(pool) for pool in started.workers]
            counts = [channel.queue_declare(name, passive=True) for name in queues]
            return sum(each.method.message_count for each in counts)

        _until(lambda: not waiting(), _EMPTY_SECONDS)
        stop([each for pool in started.workers.values() for each in pool])
        heard = [started.names.seen, started.names.outcomes]
        _until(
            lambda: (
                not sum(
                    channel.queue_declare(name, passive=True).method.message_count for name in heard
                )
            ),
            _EMPTY_SECONDS,
        )
    stop(started.schedulers)


def _until(true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _line(outcome: Outcome) -> str:
    states = ", ".join(f"{count} {state}" for state, count in outcome.states.items())
    return (
        f"{outcome.accepted} accepted, {states}, {outcome.repeated} events repeated, "
        f"{outcome.compiles} compiles begun, {outcome.broken_off} broken off, "
        f"killed: {checks.told(outcome.killed)}; {outcome.seconds:.0f} s"
    )
