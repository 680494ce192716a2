"""The metrics of a scheduler."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import PREPARE_POOL, TaskEnd, TaskStatus
from tinymlaas.contract.report import CandidateStatus
from tinymlaas.telemetry import table
from tinymlaas.telemetry.page import Page
from tinymlaas.telemetry.worker import outcome_of

PUBLISHES = ("task", "result", "reply", "dead_letter")
STAGES = ("planning", "compiling", "publishing")
_UNFINISHED = (JobState.QUEUED, JobState.PLANNING, JobState.COMPILING)
_COMPILED = tuple(each.value for each in CandidateStatus if each is not CandidateStatus.SKIPPED)
_DONE = ("done", "refused", "failed")
_WORKED = (TaskStatus.DONE, TaskStatus.FAILED)  # all else was given up, or is done by another

ClassOf = Callable[[str], str]


class JobsNow(Protocol):
    """Jobs that are alike: how many, and the age of the oldest in seconds."""

    @property
    def number(self) -> int:
        """How many."""
        ...

    @property
    def oldest(self) -> float:
        """Seconds since the request of the oldest came."""
        ...


class PoolNow(Protocol):
    """A pool: its live workers and how many are busy, tasks waiting and sent, and how long the
    oldest task that no worker has begun has been wanted, in seconds.
    """

    @property
    def workers(self) -> int:
        """Live workers."""
        ...

    @property
    def busy(self) -> int:
        """How many of them are at something."""
        ...

    @property
    def waiting(self) -> int:
        """Tasks that wait in the scheduler."""
        ...

    @property
    def running(self) -> int:
        """Tasks sent."""
        ...

    @property
    def oldest(self) -> float:
        """Seconds that the oldest task not begun has been wanted."""
        ...


class SchedulerMetrics(Page):
    """Of a scheduler. It is the core's meter (`scheduler.meter`); `look` sets what is counted."""

    def __init__(self, version: str, class_of: ClassOf) -> None:
        """Begin with nothing counted; `class_of` gives a tenant's class."""
        super().__init__(version, "scheduler", PUBLISHES)
        self._class = class_of
        self._seen: set[tuple[str, str]] = set()
        self._active = self.gauge(table.SCHEDULER_ACTIVE)
        self._jobs = self.gauge(table.JOBS)
        self._oldest_job = self.gauge(table.OLDEST_JOB_SECONDS)
        self._accepted = self.counter(table.JOBS_ACCEPTED)
        self._refused = self.counter(table.REQUESTS_REFUSED)
        self._ended = self.counter(table.JOBS_ENDED)
        self._wait = self.histogram(table.JOB_WAIT_SECONDS)
        self._job = self.histogram(table.JOB_SECONDS)
        self._stage = self.histogram(table.JOB_STAGE_SECONDS)
        self._prepare = self.histogram(table.PREPARE_SECONDS)
        self._compile = self.histogram(table.COMPILE_SECONDS)
        self._judge = self.histogram(table.JUDGE_SECONDS)
        self._weights = self.histogram(table.MODEL_WEIGHT_BYTES)
        self._hits = self.counter(table.CACHE_HITS)
        self._merges = self.counter(table.MERGES)
        self._retries = self.counter(table.RETRIES)
        self._quarantines = self.counter(table.QUARANTINES)
        self._tasks = self.gauge(table.POOL_TASKS)
        self._oldest_task = self.gauge(table.OLDEST_TASK_SECONDS)
        self._workers = self.gauge(table.POOL_WORKERS)
        self._pages = self.counter(table.PAGE_REQUESTS)

    def expect(self, pools: Iterable[str], classes: Iterable[str]) -> None:
        """Have what may happen shown as zero from the start: a rate needs a value before."""
        for pool in pools:
            self._retries.labels(pool)
            self._quarantines.labels(pool)
            if pool != PREPARE_POOL:
                for outcome in _COMPILED:
                    self._compile.labels(pool, outcome)
                for outcome in _DONE:
                    self._judge.labels(pool, outcome)
        for found_by in ("scheduler", "worker"):
            self._hits.labels(found_by)
        for code in ("200", "401", "500"):
            self._pages.labels(code)
        for stage in STAGES:
            self._stage.labels(stage)
        for kind in ("inspect", "quantise"):
            for outcome in _DONE:
                self._prepare.labels(kind, outcome)
        for name in classes:
            self._accepted.labels(name)
            self._wait.labels(name)
            self._seen |= {(state.value, name) for state in _UNFINISHED}
            for state in JobState:
                if state not in _UNFINISHED:
                    self._ended.labels(state.value, name)

    def accepted(self, tenant: str) -> None:
        """See `scheduler.meter.Meter`."""
        self._accepted.labels(self._class(tenant)).inc()

    def refused(self) -> None:
        """See `scheduler.meter.Meter`."""
        self._refused.inc()

    def waited(self, tenant: str, seconds: float) -> None:
        """See `scheduler.meter.Meter`."""
        self._wait.labels(self._class(tenant)).observe(seconds)

    def staged(self, stage: str, seconds: float) -> None:
        """See `scheduler.meter.Meter`."""
        self._stage.labels(stage).observe(seconds)

    def merged(self, tenant: str) -> None:
        """See `scheduler.meter.Meter`."""
        self._merges.inc()

    def hit(self) -> None:
        """See `scheduler.meter.Meter`."""
        self._hits.labels("scheduler").inc()

    def task_ended(self, end: TaskEnd, kind: str) -> None:
        """See `scheduler.meter.Meter`."""
        if end.status is TaskStatus.RETRY:
            self._retries.labels(end.pool).inc()
        elif end.status is TaskStatus.QUARANTINED:
            self._quarantines.labels(end.pool).inc()
        elif end.cached:
            self._hits.labels("worker").inc()
        elif end.status not in _WORKED:
            return
        elif kind == "build":
            self._compile.labels(end.pool, outcome_of(end)).observe(end.seconds)
        elif kind == "judge":
            self._judge.labels(end.pool, outcome_of(end)).observe(end.seconds)
        else:
            self._prepare.labels(kind, outcome_of(end)).observe(end.seconds)
            if end.inspection is not None:
                self._weights.observe(end.inspection.summary.weight_bytes)

    def ended(self, tenant: str, state: JobState, seconds: float) -> None:
        """See `scheduler.meter.Meter`."""
        labels = state.value, self._class(tenant)
        self._ended.labels(*labels).inc()
        self._job.labels(*labels).observe(seconds)

    def look(
        self, jobs: Mapping[tuple[str, JobState], JobsNow], pools: Mapping[str, PoolNow]
    ) -> None:
        """Set what there is now: jobs by tenant and state, and how each pool stands."""
        counted: Count[tuple[str, str]] = Count()
        oldest: dict[tuple[str, str], float] = {}
        for (tenant, state), found in jobs.items():
            if state in _UNFINISHED:
                alike = state.value, self._class(tenant)
                counted[alike] += found.number
                oldest[alike] = max(oldest.get(alike, 0.0), found.oldest)
        self._seen |= counted.keys()
        for alike in self._seen:
            self._jobs.labels(*alike).set(counted[alike])
            self._oldest_job.labels(*alike).set(oldest.get(alike, 0.0))
        for name, pool in pools.items():
            self._workers.labels(name, "busy").set(pool.busy)
            self._workers.labels(name, "idle").set(pool.workers - pool.busy)
            self._tasks.labels(name, "waiting").set(pool.waiting)
            self._tasks.labels(name, "running").set(pool.running)
            self._oldest_task.labels(name).set(pool.oldest)

    def page_answered(self, status: int) -> None:
        """Note that a request to the status page was answered with this status of HTTP."""
        self._pages.labels(str(status)).inc()

    def active(self, now: bool) -> None:
        """Set whether this scheduler is the one that schedules."""
        self._active.set(now)
