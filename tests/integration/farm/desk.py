"""What a client of a running farm needs, in the farm's own messages: submit, cancel, hear."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pika

from broker.consumer import Consumer, Delivery, Subscription
from broker.publisher import Message, Publisher
from broker.topology import CANCEL_KEY, COMPILE_KEY, Names, sent_by
from storage import keys
from tests.services.farm import FarmProcess, RunningFarm
from tinymlaas.contract.messages import (
    CancelRequested,
    CompileOrder,
    CompileRequested,
    JobChanged,
    JobEnd,
    JobEnded,
    JobName,
    JobStanding,
    JobState,
)
from tinymlaas.contract.wire import parse

SECONDS = 120.0


class Desk:
    """Sends requests and keeps all that is said of jobs; safe to use from several threads."""

    def __init__(self, farm: RunningFarm) -> None:
        self.farm = farm
        self.reply = f"reply.test-{secrets.token_hex(4)}"
        self._publisher = Publisher(farm.amqp_url, "test")
        self._publisher.open()
        self._numbers = itertools.count()
        self.ends: dict[str, JobEnd] = {}
        self.changes: dict[str, list[tuple[float, JobStanding]]] = defaultdict(list)
        self.event_ids: dict[str, set[str]] = defaultdict(set)
        self.replies: list[JobEnded] = []
        self._told = threading.Condition()
        self._connection = pika.BlockingConnection(pika.URLParameters(farm.amqp_url))
        self._connection.channel().queue_declare(self.reply, exclusive=True)
        with self._connection.channel() as channel:  # exclusive queues are one connection's
            channel.queue_purge(self.reply)
        everything = Subscription("events", 1000, farm.names.results, "#")
        self._events = Consumer(farm.amqp_url, "test", [everything])
        self._events.start(self._hear)
        assert self._events.await_ready(30)

    def close(self) -> None:
        self._events.close()
        self._publisher.close()
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()

    def _hear(self, delivery: Delivery) -> None:
        with self._told:
            if JobEnded.TYPE.encode() in delivery.body:
                event = parse(delivery.body, JobEnded, 1 << 22)
                self.ends[event.data.job_id] = event.data
                self.event_ids[event.data.job_id].add(event.id)
            else:
                change = parse(delivery.body, JobChanged, 1 << 22)
                assert change.time is not None
                told = (change.time.timestamp(), change.data)
                self.changes[change.data.job_id].append(told)
            self._told.notify_all()
        self._events.ack(delivery.token)

    def submit(self, order: CompileOrder, job: str | None = None) -> str:
        job = job or f"{order.name}-{next(self._numbers)}"
        event = CompileRequested(id=job, source="test", data=order)
        self.publish(sent_by(order.tenant, COMPILE_KEY), event.encoded())
        return job

    def submit_all(self, orders: list[CompileOrder]) -> list[str]:
        """Publish at once, and return when the broker has all of them."""
        jobs, left = [], threading.Semaphore(0)
        for order in orders:
            job = f"{order.name}-{next(self._numbers)}"
            event = CompileRequested(id=job, source="test", data=order)
            self._publisher.publish(
                self._message(sent_by(order.tenant, COMPILE_KEY), event.encoded()),
                lambda error: left.release(),
            )
            jobs.append(job)
        for _ in jobs:
            assert left.acquire(timeout=SECONDS)
        return jobs

    def cancel(self, tenant: str, job: str) -> None:
        name = JobName(tenant=tenant, job_id=job)
        event = CancelRequested(id="c", source="test", data=name)
        self.publish(sent_by(tenant, CANCEL_KEY), event.encoded())

    def publish(self, key: str, body: bytes, reply_to: str | None = None) -> None:
        self._publisher.publish_and_wait(self._message(key, body, reply_to), SECONDS)

    def _message(self, key: str, body: bytes, reply_to: str | None = None) -> Message:
        return Message(self.farm.names.requests, key, body, reply_to=reply_to)

    def until(self, true: Callable[[], bool], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            with self._told:
                self._told.wait(0.05)
            assert time.monotonic() < deadline, self._story()

    def end(self, job: str, seconds: float = SECONDS) -> JobEnd:
        self.until(lambda: job in self.ends, seconds)
        return self.ends[job]

    def all_ended(self, jobs: list[str], seconds: float = SECONDS) -> list[JobEnd]:
        self.until(lambda: all(job in self.ends for job in jobs), seconds)
        return [self.ends[job] for job in jobs]

    def all_wait_for_workers(self, jobs: list[str]) -> None:
        """Wait until all of `jobs` are planned and want to be built."""
        self.until(lambda: all(self._planned(job) for job in jobs))

    def _planned(self, job: str) -> bool:
        return any(told.state is JobState.COMPILING for _, told in self.changes.get(job, ()))

    def take_replies(self) -> list[JobEnded]:
        """Return what has come on the reply queue since last asked."""
        found = []
        with self._connection.channel() as channel:
            while (body := channel.basic_get(self.reply, auto_ack=True)[2]) is not None:
                found.append(parse(body, JobEnded, 1 << 22))
        return found

    def dead_letters(self) -> list[str]:
        """Take all dead letters of the scheduler; return the reason of each."""
        found = []
        with self._connection.channel() as channel:
            while True:
                method, properties, _ = channel.basic_get(
                    self.farm.names.dead_letters, auto_ack=True
                )
                if method is None:
                    return found
                found.append(str((properties.headers or {})["x-reason"]))

    def count(self, queue: str) -> int:
        """Return how many messages wait in a queue of the farm."""
        return count(self.farm.amqp_url, queue)

    def log(self, end: JobEnd) -> bytes:
        assert end.log is not None
        return self.farm.store.get(keys.blob(end.log))

    def _story(self) -> str:
        logs = (f"{p.name}:\n{p.log.read_text()[-1500:]}" for p in self.farm.processes())
        return f"it did not come about; {len(self.ends)} jobs have ended\n" + "\n".join(logs)


def count(url: str, queue: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def waiting_queues(names: Names, pools: list[str]) -> list[str]:
    """The queues in which something would wait that nobody deals with."""
    of_pools = [
        queue
        for pool in pools
        for queue in (names.pool(pool), names.pool_delayed(pool), names.pool_dead(pool))
    ]
    return [names.compile_requests, names.control, names.outcomes, names.dead_letters, *of_pools]


@contextlib.contextmanager
def kept_alive(processes: list[FarmProcess]) -> Iterator[list[str]]:
    """Start a process again when it has died, as a supervisor does; yields who has died."""
    died: list[str] = []
    stopping = threading.Event()

    def keep() -> None:
        while not stopping.wait(0.1):
            for process in processes:
                if not process.running:
                    died.append(process.name)
                    process.start()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield died
    finally:
        stopping.set()
        thread.join()
