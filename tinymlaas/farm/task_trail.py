"""Each task's way through a worker, as lines of the log and as spans.

A task is a trace of its own that links to those of the jobs that want it. Its stages are told by
the task's process (`workers.notes`) and made spans here: what is forked has no exporter.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tinymlaas.contract.pool_messages import BuildTask, TaskEnd, TaskSent, TaskStatus
from tinymlaas.contract.report import candidate_name
from tinymlaas.farm import spans
from tinymlaas.farm.spans import context_of, messaging
from tinymlaas.log_context import bound
from tinymlaas.logs import get_logger
from tinymlaas.telemetry import outcome_of
from tinymlaas.tracing import NO_SPAN, Context, Kind, Span, Tracing, Value
from workers.notes import Note, What
from workers.trail import Following

# What spans are called; stages that are not here are called as they are.
STAGES = {
    "starting": "start",
    "inspecting": "inspect",
    "reading the model": "read",
    "quantising to int8": "quantise",
    "quantising to int16x8": "quantise",
    "compiling": "compile",
    "building the library": "library",
    "linking for the board": "link",
    "running the reference": "reference",
    "running on the host": "simulate",
    "running in the simulator": "simulate",
    "comparing with the reference": "verify",
    "comparing layer by layer": "verify",
    "packing": "pack",
    "running labelled samples": "judge",
}
_STORE = {"get": "fetch", "put": "store", "put_if_absent": "store"}
_log = get_logger(__name__)


class TaskTrail:
    """`workers.trail.Trail`, and what counts as a stage."""

    def __init__(self, tracing: Tracing, queue: str, exchange: str) -> None:
        """Have spans go to `tracing`; tasks come from `queue`, and ends go to `exchange`."""
        self._tracing = tracing
        self._queue = queue
        self._exchange = exchange
        self._task: Span = NO_SPAN

    @contextlib.contextmanager
    def following(self, message: TaskSent, deliveries: int) -> Iterator[Following]:
        """See `Trail.following`."""
        self._task = self._tracing.begin(
            "task",
            links=_links(message),
            kind=Kind.CONSUMER,
            facts=_facts(message, deliveries) | messaging("process", self._queue, message.id),
        )
        here = self._task.context or next(iter(context_of(message.traceparent)), None)
        names = {"task_id": message.data.task_id, "action": message.data.action}
        one = _One(self._tracing, self._task, here, self._exchange)
        with bound({**names, **(here.ids if here else {}), **_job_trace(message, self._task)}):
            _log.info("task begun", work=message.data.work.kind, attempt=deliveries)
            try:
                yield one
            except Exception as error:
                one.over(f"{type(error).__name__}: its end could not be told")
                raise
            else:
                one.over("")
            finally:
                self._task = NO_SPAN

    def note(self, note: Note) -> None:
        """Take what the task's process tells, as it happens."""
        name = ""
        match note.what:
            case What.STAGE:
                name = STAGES.get(note.name, note.name)
            case What.STORE:
                name = _STORE.get(note.name, "")
            case What.SIGNATURE:
                name = "sign"
            case What.STOP:
                self._task.event("stopped", {"step": note.name, "reason": note.detail})
        if name:
            facts = {"tinymlaas.stage": note.name} if note.what is What.STAGE else {}
            span = self._tracing.begin(name, parent=self._task, facts=facts, ago=note.seconds)
            failed = note.what is What.SIGNATURE and note.name != "made"
            span.end(note.detail or ("not signed" if failed else ""))


class _One:
    """`workers.trail.Following`."""

    def __init__(self, tracing: Tracing, task: Span, here: Context | None, exchange: str) -> None:
        self._tracing = tracing
        self._task = task
        self._here = here
        self._exchange = exchange
        self._publish: Span = NO_SPAN
        self._end: TaskEnd | None = None
        self._began = time.monotonic()

    @property
    def traceparent(self) -> str | None:
        """See `Following.traceparent`."""
        return self._here.traceparent if self._here else None

    def telling(self, end: TaskEnd) -> str | None:
        """See `Following.telling`."""
        self._end = end
        self._publish.end()
        self._publish = self._tracing.begin(
            "publish",
            parent=self._task,
            kind=Kind.PRODUCER,
            facts=messaging("send", self._exchange, f"{end.task_id}-end"),
        )
        told = self._publish.context or self._here
        return told.traceparent if told else None

    def over(self, error: str) -> None:
        """Note that the end is told, or that it could not be."""
        self._publish.end(error)
        if (end := self._end) is not None:
            outcome = outcome_of(end)
            said = {"status": end.status.value, "outcome": outcome, "cached": end.cached}
            reasons = {"reasons": end.reasons} if end.reasons else {}
            seconds = round(time.monotonic() - self._began, 3)
            _log.info("task ended", **said, seconds=seconds, **reasons)
            self._task.set({spans.OUTCOME: outcome, spans.CACHED: end.cached})
            if end.status is TaskStatus.FAILED:
                error = error or "; ".join(end.reasons) or "failed"
        self._task.end(error)


def _links(message: TaskSent) -> list[Context]:
    first = context_of(message.traceparent, message.tracestate)
    return first + [Context(each) for each in message.data.links]


def _job_trace(message: TaskSent, task: Span) -> dict[str, str]:
    """Return in which trace the job is that the task was sent for, where that is another."""
    if task.context is None or message.traceparent is None:
        return {}
    return {"job_trace_id": Context(message.traceparent).ids["trace_id"]}


def _facts(message: TaskSent, deliveries: int) -> dict[str, Value]:
    task = message.data
    facts: dict[str, Value] = {
        spans.TASK: task.task_id,
        spans.ACTION: task.action,
        spans.POOL: task.pool,
        spans.WORK: task.work.kind,
        spans.ATTEMPT: deliveries,
    }
    if isinstance(task.work, BuildTask):
        built = task.work.job
        called = candidate_name(built.compiler, built.task.kernels, built.task.options)
        facts |= {spans.COMPILER: built.compiler, spans.CANDIDATE: called}
    return facts
