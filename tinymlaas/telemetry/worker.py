"""The metrics of a worker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from tinymlaas.contract.pool_messages import TaskEnd, TaskStatus
from tinymlaas.telemetry import table
from tinymlaas.telemetry.page import Page

PUBLISHES = ("outcome",)
OTHER = "other"


class WorkerMetrics(Page):
    """Of a worker of one pool; every metric of its own says which."""

    def __init__(self, version: str, pool: str) -> None:
        """Begin with nothing counted."""
        super().__init__(version, f"worker {pool}", PUBLISHES)
        self._pool = pool
        self._busy = _Busy(pool)
        self.registry.register(self._busy)
        self._now = self.gauge(table.WORKER_BUSY).labels(pool)
        self._tasks = self.counter(table.WORKER_TASKS)
        self._stages = self.histogram(table.TASK_STAGE_SECONDS)
        self._bytes = self.histogram(table.MODULE_BYTES).labels(pool)
        self._signatures = self.counter(table.SIGNATURES)
        self._stops = self.counter(table.SANDBOX_STOPS)
        self._known_stages: frozenset[str] = frozenset()

    def expect(
        self, stages: Iterable[str], steps: Iterable[str], reasons: Iterable[str], *, signs: bool
    ) -> None:
        """Have what may happen shown as zero from the start: a rate needs a value before.

        Stages of other names are counted as ``other``: a label has few values.
        """
        self._known_stages = frozenset(stages)
        for stage in sorted(self._known_stages):
            self._stages.labels(self._pool, stage)
        reasons = tuple(reasons)
        for step in steps:
            for reason in reasons:
                self._stops.labels(self._pool, step, reason)
        for outcome in ("made", "failed") if signs else ():
            self._signatures.labels(self._pool, outcome)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count the time within as busy."""
        self._now.set(1)
        self._busy.begin()
        try:
            yield
        finally:
            self._busy.end()
            self._now.set(0)

    def task_ended(self, end: TaskEnd) -> None:
        """Note how a task ended."""
        self._tasks.labels(self._pool, "cached" if end.cached else outcome_of(end)).inc()

    def staged(self, stage: str, seconds: float) -> None:
        """Note how long a task was in a stage."""
        known = stage if stage in self._known_stages else OTHER
        self._stages.labels(self._pool, known).observe(seconds)

    def module(self, size: int) -> None:
        """Note the size of a module's archive, in bytes."""
        self._bytes.observe(size)

    def signed(self, made: bool) -> None:
        """Note whether a signature that was asked for was made."""
        self._signatures.labels(self._pool, "made" if made else "failed").inc()

    def stopped(self, step: str, reason: str) -> None:
        """Note that a job of the sandbox ended otherwise than in order."""
        self._stops.labels(self._pool, step, reason).inc()


class _Busy(Collector):
    """Busy seconds up to this moment, also in the middle of a task: the ratio is its rate."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._spent: tuple[float, float | None] = (0.0, None)  # before, and since when; one value

    def begin(self) -> None:
        self._spent = (self.seconds(), time.monotonic())

    def end(self) -> None:
        self._spent = (self.seconds(), None)

    def seconds(self) -> float:
        before, began = self._spent
        return before if began is None else before + time.monotonic() - began

    def collect(self) -> Iterator[CounterMetricFamily]:
        metric = table.WORKER_BUSY_SECONDS
        family = CounterMetricFamily(metric.name, metric.about, labels=metric.labels)
        family.add_metric([self._pool], self.seconds())
        yield family


def outcome_of(end: TaskEnd) -> str:
    """Return how a task ended: for a build that was done, what became of the candidate."""
    if end.refused:
        return "refused"
    done = end.status is TaskStatus.DONE and end.outcome is not None
    return end.outcome.report.status.value if done and end.outcome else end.status.value
