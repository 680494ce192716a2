"""The metrics of the farm: every name in this one place, in base units, no label of a single job.

A process makes one of the classes here and tells it what happens; `page` is what is scraped.
Tenants are told apart by their class only (`tinymlaas.farm.policy`), of which there are few.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tinymlaas import __version__
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import PREPARE_POOL, TaskEnd, TaskStatus

BUILD = "tinymlaas_build"
JOBS = "tinymlaas_jobs"
JOBS_ENDED = "tinymlaas_jobs_ended"
JOB_WAIT_SECONDS = "tinymlaas_job_wait_seconds"
JOB_SECONDS = "tinymlaas_job_seconds"
COMPILE_SECONDS = "tinymlaas_compile_seconds"
PREPARE_SECONDS = "tinymlaas_prepare_seconds"
CACHE_HITS = "tinymlaas_cache_hits"
MERGES = "tinymlaas_merges"
RETRIES = "tinymlaas_retries"
QUARANTINES = "tinymlaas_quarantines"
POOL_TASKS = "tinymlaas_pool_tasks"
POOL_WORKERS = "tinymlaas_pool_workers"
SCHEDULER_ACTIVE = "tinymlaas_scheduler_active"
WORKER_BUSY = "tinymlaas_worker_busy"
WORKER_BUSY_SECONDS = "tinymlaas_worker_busy_seconds"
WORKER_TASKS = "tinymlaas_worker_tasks"
MODULE_BYTES = "tinymlaas_module_bytes"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600, 1800)
_BYTES = tuple(1024 * 4**power for power in range(9))  # 1 KiB to 64 MiB
_UNFINISHED = (JobState.QUEUED, JobState.PLANNING, JobState.COMPILING)

ClassOf = Callable[[str], str]


class _Page:
    def __init__(self, version: str, process: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Info(BUILD, "What runs here.", registry=self.registry)
        build.info({"version": __version__, "service": version[:16], "process": process})

    def page(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body for a scraper that accepts `accept`."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)

    def _seconds(self, name: str, about: str, *labels: str) -> Histogram:
        return Histogram(name, about, labels, registry=self.registry, buckets=_SECONDS)


class SchedulerMetrics(_Page):
    """Of a scheduler. It is the core's meter (`scheduler.meter`); `look` sets what is counted."""

    def __init__(self, version: str, class_of: ClassOf) -> None:
        """Begin with nothing counted; `class_of` gives a tenant's class."""
        super().__init__(version, "scheduler")
        self._class = class_of
        self._seen: set[tuple[str, str]] = set()
        self._jobs = self._gauge(JOBS, "Unfinished jobs.", "state", "tenant_class")
        self._ended = self._counter(JOBS_ENDED, "Jobs that ended.", "state", "tenant_class")
        self._wait = self._seconds(JOB_WAIT_SECONDS, "Time until a job's turn.", "tenant_class")
        self._job = self._seconds(
            JOB_SECONDS, "Time from request to published result.", "state", "tenant_class"
        )
        self._compile = self._seconds(
            COMPILE_SECONDS, "Time a worker took for a candidate.", "compiler", "outcome"
        )
        self._prepare = self._seconds(
            PREPARE_SECONDS, "Time a worker took to inspect or quantise a model.", "outcome"
        )
        self._hits = self._counter(CACHE_HITS, "Candidates that were in the store.", "found_by")
        self._merges = self._counter(MERGES, "Jobs that joined work already under way.")
        self._retries = self._counter(RETRIES, "Tasks to be sent again.", "pool")
        self._quarantines = self._counter(QUARANTINES, "Tasks that killed workers.", "pool")
        self._tasks = self._gauge(POOL_TASKS, "Tasks waiting here or sent.", "pool", "state")
        self._workers = self._gauge(POOL_WORKERS, "Workers alive.", "pool", "state")
        self._active = self._gauge(SCHEDULER_ACTIVE, "1 if it schedules, 0 in standby.")

    def expect(self, pools: Iterable[str], classes: Iterable[str]) -> None:
        """Have what may happen shown as zero from the start: a rate needs a value before."""
        for pool in pools:
            self._retries.labels(pool)
            self._quarantines.labels(pool)
        for found_by in ("scheduler", "worker"):
            self._hits.labels(found_by)
        for name in classes:
            self._seen |= {(state.value, name) for state in _UNFINISHED}
            for state in JobState:
                if state not in _UNFINISHED:
                    self._ended.labels(state.value, name)

    def waited(self, tenant: str, seconds: float) -> None:
        """See `scheduler.meter.Meter`."""
        self._wait.labels(self._class(tenant)).observe(seconds)

    def merged(self, tenant: str) -> None:
        """See `scheduler.meter.Meter`."""
        self._merges.inc()

    def hit(self) -> None:
        """See `scheduler.meter.Meter`."""
        self._hits.labels("scheduler").inc()

    def task_ended(self, end: TaskEnd) -> None:
        """See `scheduler.meter.Meter`."""
        if end.status is TaskStatus.RETRY:
            self._retries.labels(end.pool).inc()
        elif end.status is TaskStatus.QUARANTINED:
            self._quarantines.labels(end.pool).inc()
        elif end.cached:
            self._hits.labels("worker").inc()
        elif end.pool == PREPARE_POOL:
            outcome = "refused" if end.refused else end.status.value
            self._prepare.labels(outcome).observe(end.seconds)
        else:
            self._compile.labels(end.pool, outcome_of(end)).observe(end.seconds)

    def ended(self, tenant: str, state: JobState, seconds: float) -> None:
        """See `scheduler.meter.Meter`."""
        labels = state.value, self._class(tenant)
        self._ended.labels(*labels).inc()
        self._job.labels(*labels).observe(seconds)

    def look(
        self,
        jobs: Mapping[tuple[str, JobState], int],
        pools: Mapping[str, tuple[int, int, int, int]],
    ) -> None:
        """Set what there is now: jobs by tenant and state; of each pool its live workers, how many
        are busy, tasks waiting and tasks sent.
        """
        counted: Count[tuple[str, str]] = Count()
        for (tenant, state), number in jobs.items():
            if state in _UNFINISHED:
                counted[state.value, self._class(tenant)] += number
        self._seen |= counted.keys()
        for labels in self._seen:
            self._jobs.labels(*labels).set(counted[labels])
        for pool, (workers, busy, waiting, running) in pools.items():
            self._workers.labels(pool, "busy").set(busy)
            self._workers.labels(pool, "idle").set(workers - busy)
            self._tasks.labels(pool, "waiting").set(waiting)
            self._tasks.labels(pool, "running").set(running)

    def active(self, now: bool) -> None:
        """Set whether this scheduler is the one that schedules."""
        self._active.set(now)


class WorkerMetrics(_Page):
    """Of a worker."""

    def __init__(self, version: str, pool: str) -> None:
        """Begin with nothing counted."""
        super().__init__(version, f"worker {pool}")
        self._busy = _Busy()
        self.registry.register(self._busy)
        self._now = self._gauge(WORKER_BUSY, "1 while it does a task.")
        self._tasks = self._counter(WORKER_TASKS, "Tasks it has ended.", "outcome")
        self._bytes = Histogram(
            MODULE_BYTES, "Size of module archives.", registry=self.registry, buckets=_BYTES
        )

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
        self._tasks.labels("cached" if end.cached else outcome_of(end)).inc()

    def module(self, size: int) -> None:
        """Note the size of a module's archive, in bytes."""
        self._bytes.observe(size)


class _Busy(Collector):
    """Busy seconds up to this moment, also in the middle of a task: the ratio is its rate."""

    def __init__(self) -> None:
        self._spent: tuple[float, float | None] = (0.0, None)  # before, and since when; one value

    def begin(self) -> None:
        self._spent = (self.seconds(), time.monotonic())

    def end(self) -> None:
        self._spent = (self.seconds(), None)

    def seconds(self) -> float:
        before, began = self._spent
        return before if began is None else before + time.monotonic() - began

    def collect(self) -> Iterator[CounterMetricFamily]:
        about = "Time spent on tasks."
        yield CounterMetricFamily(WORKER_BUSY_SECONDS, about, value=self.seconds())


def outcome_of(end: TaskEnd) -> str:
    """Return how a task ended: for a build that was done, what became of the candidate."""
    if end.refused:
        return "refused"
    done = end.status is TaskStatus.DONE and end.outcome is not None
    return end.outcome.report.status.value if done and end.outcome else end.status.value
