"""A client that does little itself, so that what is measured is the farm."""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from broker.consumer import Consumer, Delivery
from broker.farm import events_of
from broker.publisher import Message, Publisher
from broker.topology import COMPILE_KEY, Names, sent_by
from tinymlaas.contract.messages import CompileOrder, CompileRequested, JobState

_FINAL = {state.value for state in JobState if state.final}
_PATIENCE_SECONDS = 120.0
_TICKS = 100.0  # of /proc, per second


@dataclass
class Sent:
    """A job on its way: when it was published and, once it is known, when and how it ended."""

    job_id: str
    at: float
    ended: float = 0.0
    state: str = ""

    @property
    def seconds(self) -> float:
        """From submit to result."""
        return self.ended - self.at


@dataclass
class Client:
    """Publishes requests of some tenants and hears how their jobs end. Made by `connected`."""

    publisher: Publisher
    names: Names
    jobs: dict[str, Sent] = field(default_factory=dict)
    order_of_ends: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    confirmed: int = 0
    refused: list[str] = field(default_factory=list)

    def submit(self, order: CompileOrder, job_id: str | None = None) -> Sent:
        """Publish a request, with a confirm that is not waited for."""
        request = CompileRequested(
            id=job_id or secrets.token_hex(8), source="benchmark", data=order
        )
        return self.publish(request.id, request.encoded(), order.tenant)

    def publish(self, job_id: str, body: bytes, tenant: str) -> Sent:
        """Publish a request that is encoded already."""
        sent = self.jobs[job_id] = Sent(job_id, time.perf_counter())
        message = Message(self.names.requests, sent_by(tenant, COMPILE_KEY), body)
        self.publisher.publish(message, self._answered)
        return sent

    def _answered(self, error: Exception | None) -> None:
        self.confirmed += 1
        if error is not None:
            self.refused.append(str(error))

    def heard(self, delivery: Delivery) -> None:
        """Take an event; only final ones matter."""
        _, job_id, state = delivery.routing_key.split(".")
        sent = self.jobs.get(job_id)
        if state in _FINAL and sent is not None and not sent.state:
            sent.ended, sent.state = time.perf_counter(), state
            with self.news:
                self.order_of_ends.append(job_id)
                self.news.notify_all()

    def await_ended(self, count: int, seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait until `count` jobs have ended in all.

        Raises:
            TimeoutError: they have not within `seconds`.
        """
        with self.news:
            if not self.news.wait_for(lambda: len(self.order_of_ends) >= count, seconds):
                raise TimeoutError(
                    f"{len(self.order_of_ends)} of {count} jobs ended within {seconds:g} s"
                    + "".join(f"; not taken: {reason}" for reason in self.refused[:1])
                )


@contextlib.contextmanager
def connected(url: str, names: Names, tenants: Iterable[str] = ("a",)) -> Iterator[Client]:
    """Yield a client that hears of the jobs of `tenants`."""
    publisher = Publisher(url, "benchmark")
    client = Client(publisher, names)
    events = Consumer(url, "benchmark", [events_of(f"{each}.*.*", names) for each in tenants])

    def taken(delivery: Delivery) -> None:
        client.heard(delivery)
        events.ack(delivery.token)

    publisher.open()
    events.start(taken)
    try:
        if not (publisher.await_ready(30) and events.await_ready(30)):
            raise TimeoutError("RabbitMQ was not reached within 30 s")
        yield client
    finally:
        events.close()
        publisher.close()


def cpu_seconds(leader: int) -> float:
    """Return the processor time of all processes of the session that `leader` leads."""
    total = 0.0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def p50_ms(call: Callable[[], object], times: int) -> float:
    """Return the median of how long `call` takes, in ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000
