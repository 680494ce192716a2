"""All metrics as data: name, type, labels, unit, and who exports them.

Both the objects that count and the reference page (docs/reference/metrics.md) are made of it; the
dashboards and rules of deploy/ are held against it by tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600, 1800)
BYTES = tuple(float(1024 * 4**power) for power in range(9))  # 1 KiB to 64 MiB


class Kind(StrEnum):
    """The type of a metric, as Prometheus has it; `info` is a gauge that is always 1."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Process(StrEnum):
    """Who exports a metric."""

    SCHEDULER = "scheduler"
    WORKER = "worker"


SCHEDULER, WORKER = (Process.SCHEDULER,), (Process.WORKER,)
BOTH = (Process.SCHEDULER, Process.WORKER)


@dataclass(frozen=True)
class Metric:
    """One metric: its name without the suffix of its type, and what it says in a sentence.

    `labels` come in the order in which values are given; `buckets` are a histogram's.
    """

    name: str
    kind: Kind
    about: str
    of: tuple[Process, ...]
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exposed(self) -> str:
        """The name as it stands on the page and in queries; of a histogram without suffix."""
        return self.name + {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")

    @property
    def series(self) -> tuple[str, ...]:
        """All names of its series."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.exposed,)

    @property
    def unit(self) -> str:
        """Its unit: ``seconds``, ``bytes``, or nothing for what is only counted."""
        return next((unit for unit in ("seconds", "bytes") if self.name.endswith(f"_{unit}")), "")


def _seconds(name: str, about: str, of: tuple[Process, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, about, of, labels, SECONDS)


def _bytes(name: str, about: str, of: tuple[Process, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, about, of, labels, BYTES)


def _counter(name: str, about: str, of: tuple[Process, ...], *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, about, of, labels)


def _gauge(name: str, about: str, of: tuple[Process, ...], *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, about, of, labels)


BUILD = Metric(
    "tinymlaas_build",
    Kind.INFO,
    "What runs here; service is the version of the work itself.",
    BOTH,
    ("version", "service", "process"),
)
LOOP_AGE_SECONDS = _gauge(
    "tinymlaas_loop_age_seconds", "Time since the last turn of the process's own loop.", BOTH
)
BROKER_CONNECTED = _gauge(
    "tinymlaas_broker_connected", "1 while a connection to RabbitMQ is open.", BOTH, "link"
)
BROKER_CONNECTIONS = _counter(
    "tinymlaas_broker_connections", "Connections to RabbitMQ that were opened.", BOTH, "link"
)
BROKER_PUBLISHES = _counter(
    "tinymlaas_broker_publishes",
    "Messages that RabbitMQ has answered for: taken, returned as no queue takes them, or refused.",
    BOTH,
    "to",
    "outcome",
)
STORE_SECONDS = _seconds(
    "tinymlaas_store_seconds", "Time that requests to the object store took.", BOTH, "operation"
)
STORE_ERRORS = _counter(
    "tinymlaas_store_errors",
    "Requests to the object store that failed; that it lacks an object is no error.",
    BOTH,
    "operation",
    "error",
)

SCHEDULER_ACTIVE = _gauge(
    "tinymlaas_scheduler_active", "1 if it schedules, 0 in standby.", SCHEDULER
)
JOBS = _gauge("tinymlaas_jobs", "Unfinished jobs.", SCHEDULER, "state", "tenant_class")
OLDEST_JOB_SECONDS = _gauge(
    "tinymlaas_oldest_job_seconds",
    "Age of the oldest unfinished job, since this scheduler got its request.",
    SCHEDULER,
    "state",
    "tenant_class",
)
JOBS_ACCEPTED = _counter(
    "tinymlaas_jobs_accepted",
    "Requests that are jobs; those that come again after a takeover count again.",
    SCHEDULER,
    "tenant_class",
)
REQUESTS_REFUSED = _counter(
    "tinymlaas_requests_refused", "Messages that are no request, and ids used twice.", SCHEDULER
)
JOBS_ENDED = _counter(
    "tinymlaas_jobs_ended", "Jobs that ended.", SCHEDULER, "state", "tenant_class"
)
JOB_WAIT_SECONDS = _seconds(
    "tinymlaas_job_wait_seconds", "Time until a job's turn.", SCHEDULER, "tenant_class"
)
JOB_SECONDS = _seconds(
    "tinymlaas_job_seconds",
    "Time from request to published result.",
    SCHEDULER,
    "state",
    "tenant_class",
)
JOB_STAGE_SECONDS = _seconds(
    "tinymlaas_job_stage_seconds",
    "Time a job was in a stage: planning, compiling, publishing.",
    SCHEDULER,
    "stage",
)
PREPARE_SECONDS = _seconds(
    "tinymlaas_prepare_seconds",
    "Time a worker took to inspect or quantise a model.",
    SCHEDULER,
    "kind",
    "outcome",
)
COMPILE_SECONDS = _seconds(
    "tinymlaas_compile_seconds",
    "Time a worker took for a candidate.",
    SCHEDULER,
    "compiler",
    "outcome",
)
JUDGE_SECONDS = _seconds(
    "tinymlaas_judge_seconds",
    "Time a worker took to run a module on labelled samples.",
    SCHEDULER,
    "compiler",
    "outcome",
)
MODEL_WEIGHT_BYTES = _bytes(
    "tinymlaas_model_weight_bytes", "Size of the constants of inspected models.", SCHEDULER
)
CACHE_HITS = _counter(
    "tinymlaas_cache_hits", "Candidates that were in the store.", SCHEDULER, "found_by"
)
MERGES = _counter("tinymlaas_merges", "Jobs that joined work already under way.", SCHEDULER)
RETRIES = _counter(
    "tinymlaas_retries", "Tasks to be sent again: store or broker was away.", SCHEDULER, "pool"
)
QUARANTINES = _counter(
    "tinymlaas_quarantines", "Tasks given up: they killed workers.", SCHEDULER, "pool"
)
POOL_TASKS = _gauge(
    "tinymlaas_pool_tasks", "Tasks waiting here, or sent (running).", SCHEDULER, "pool", "state"
)
OLDEST_TASK_SECONDS = _gauge(
    "tinymlaas_oldest_task_seconds",
    "How long the oldest task that no worker has begun has been wanted.",
    SCHEDULER,
    "pool",
)
POOL_WORKERS = _gauge("tinymlaas_pool_workers", "Workers alive.", SCHEDULER, "pool", "state")
PAGE_REQUESTS = _counter(
    "tinymlaas_page_requests", "Requests to the status page, by status of HTTP.", SCHEDULER, "code"
)

WORKER_BUSY = _gauge("tinymlaas_worker_busy", "1 while it does a task.", WORKER, "pool")
WORKER_BUSY_SECONDS = _counter(
    "tinymlaas_worker_busy_seconds", "Time spent on tasks.", WORKER, "pool"
)
WORKER_TASKS = _counter("tinymlaas_worker_tasks", "Tasks it has ended.", WORKER, "pool", "outcome")
TASK_STAGE_SECONDS = _seconds(
    "tinymlaas_task_stage_seconds", "Time a task was in a stage.", WORKER, "pool", "stage"
)
MODULE_BYTES = _bytes("tinymlaas_module_bytes", "Size of module archives.", WORKER, "pool")
SIGNATURES = _counter(
    "tinymlaas_signatures", "Signatures asked of the signer.", WORKER, "pool", "outcome"
)
SANDBOX_STOPS = _counter(
    "tinymlaas_sandbox_stops",
    "Jobs of the sandbox that ended otherwise than in order.",
    WORKER,
    "pool",
    "step",
    "reason",
)


def _all(found: Sequence[object]) -> tuple[Metric, ...]:
    return tuple(each for each in found if isinstance(each, Metric))


METRICS = _all(tuple(globals().values()))
