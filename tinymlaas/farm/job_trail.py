"""Each job's way through the scheduler, as lines of the log and as spans.

A job is a trace: `request`, with `wait`, `plan`, a span for each piece of work that it waits for
(`prepare`, `candidate`, `judge`) and `publish` below it. What lies beyond a queue, the client's
trace and the workers', is linked, not part of it: it may be merged, repeated, and outlive us.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from scheduler.effects import Key
from scheduler.jobs import Job
from scheduler.planning import Need, candidate_of
from scheduler.trail import Sent
from scheduler.wanted import Action
from tinymlaas.contract.messages import JobEnded, JobState
from tinymlaas.contract.pool_messages import (
    MAX_LINKS,
    BuildTask,
    JudgeTask,
    TaskEnd,
    TaskStatus,
)
from tinymlaas.contract.report import CandidateReport, CandidateStatus, candidate_name
from tinymlaas.farm import spans
from tinymlaas.farm.spans import context_of, messaging
from tinymlaas.logs import get_logger
from tinymlaas.telemetry import outcome_of
from tinymlaas.tracing import NO_SPAN, Context, Kind, Span, Tracing, Value

_BAD = (JobState.FAILED, JobState.QUARANTINED)
_log = get_logger(__name__)


@dataclass(slots=True)
class _Spans:
    """Of one job: all of it, what it does now, and what it waits for, by action."""

    request: Span
    phase: Span = NO_SPAN
    works: dict[str, Span] = field(default_factory=dict)


class JobTrail:
    """`scheduler.trail.Trail`."""

    def __init__(self, tracing: Tracing, requests: str, results: str) -> None:
        """Have spans go to `tracing`; the others are the names of queue and exchange."""
        self._tracing = tracing
        self._requests = requests
        self._results = results
        self._jobs: dict[Key, _Spans] = {}
        self._told = ""  # the task whose end was logged last

    def planning(self, job: Job) -> str | None:
        """See `Trail.planning`."""
        own = None
        if job.key not in self._jobs:
            sender = context_of(job.traceparent)
            own = self._begin(job)
            self._phase(job, "wait", ago=_age(job))
            said = {"sender_trace_id": sender[0].ids["trace_id"]} if own and sender else {}
            if not job.replans:
                waited = round(_age(job), 3)
                _log.info("job begun", waited=waited, **said, **_named(job, own))
        self._phase(job, "plan")
        return own

    def _begin(self, job: Job) -> str | None:
        """Begin the spans of a job, at the time when it came: many wait, and none keeps a span."""
        request = self._tracing.begin(
            "request",
            links=context_of(job.traceparent, job.tracestate),
            kind=Kind.CONSUMER,
            facts=_whose(job)
            | {spans.PRIORITY: job.priority}
            | messaging("process", self._requests, job.job_id),
            ago=_age(job),
        )
        if request.context is None:
            return None
        self._jobs[job.key] = _Spans(request)
        return request.context.traceparent

    def planned(self, job: Job) -> None:
        """See `Trail.planned`."""
        if (known := self._jobs.get(job.key)) is not None:
            if job.plan is not None:
                known.phase.set({spans.CANDIDATES: len(job.plan.table)})
            known.phase.end()
            known.phase = NO_SPAN

    def found(self, job: Job, need: Need, report: CandidateReport) -> None:
        """See `Trail.found`."""
        span = self._work(job, need)
        span.set({spans.OUTCOME: report.status.value, spans.CACHED: True})
        span.end()

    def wanted(self, job: Job, need: Need) -> None:
        """See `Trail.wanted`."""
        if (known := self._jobs.get(job.key)) is not None:
            known.works[need.action] = self._work(job, need)

    def sent(self, action: Action) -> Sent | None:
        """See `Trail.sent`."""
        need, first = action.need, next(iter(action.waiters.values()))
        names = {"action": need.action, "task_id": action.task_id, "pool": need.pool}
        jobs = len(action.waiters)
        _log.info("task sent", **names, waiting_jobs=jobs, **_named(first))
        contexts: list[str] = []
        for key in action.waiters:
            known = self._jobs.get(key)
            span = known.works.get(need.action, NO_SPAN) if known else NO_SPAN
            if span.context is not None:
                span.event("sent", {spans.TASK: action.task_id, spans.MERGED: jobs})
                contexts.append(span.context.traceparent)
            if len(contexts) > MAX_LINKS:
                break
        return Sent(contexts[0], tuple(contexts[1:])) if contexts else None

    def ended(self, job: Job, need: Need, end: TaskEnd, traceparent: str | None) -> None:
        """See `Trail.ended`."""
        outcome, work = outcome_of(end), need.work.kind
        names = {"action": end.action, "task_id": end.task_id, "pool": end.pool}
        said = {"work": work, "outcome": outcome, "cached": end.cached, "worker": end.worker}
        reasons = {"reasons": end.reasons} if end.reasons else {}
        seconds = round(end.seconds, 3)
        # Once for all that wanted it, of whom there may be thousands.
        say = _log.debug if end.task_id == self._told else _log.info
        self._told = end.task_id
        say("task ended", **names, **said, seconds=seconds, **reasons, **_named(job))
        known = self._jobs.get(job.key)
        if known is None or (span := known.works.pop(end.action, None)) is None:
            return
        span.set(
            {
                spans.OUTCOME: outcome,
                spans.CACHED: end.cached,
                spans.TASK: end.task_id,
                spans.WORKER: end.worker,
            }
        )
        for context in context_of(traceparent):
            span.link(context)
        span.end(_error(end))

    def left(self, job: Job, action: str) -> None:
        """See `Trail.left`."""
        if (known := self._jobs.get(job.key)) is not None:
            span = known.works.pop(action, NO_SPAN)
            span.set({spans.OUTCOME: "left"})
            span.end()

    def ending(self, job: Job, event: JobEnded) -> None:
        """See `Trail.ending`."""
        if job.key not in self._jobs:  # it never came to its turn
            self._begin(job)
        span = self._phase(job, "publish", Kind.PRODUCER)
        span.set({spans.STATE: event.data.state.value})
        span.set(messaging("send", self._results, event.id))

    def finished(self, job: Job, state: JobState) -> None:
        """See `Trail.finished`."""
        _log.info("job ended", state=state.value, **_named(job))
        self._end(job.key, state.value, f"the job is {state.value}" if state in _BAD else "")

    def dropped(self, job: Job, reason: str) -> None:
        """See `Trail.dropped`."""
        _log.warning("job refused", reason=reason, **_named(job))
        self._end(job.key, "refused", reason)

    def forgotten(self) -> None:
        """See `Trail.forgotten`."""
        if self._jobs:
            _log.info("unfinished jobs are let go of", jobs=len(self._jobs))
        for key in [*self._jobs]:
            self._end(key, "let go of", "")

    def _phase(self, job: Job, name: str, kind: Kind = Kind.INTERNAL, ago: float = 0.0) -> Span:
        """Have `job` begin something, by which it has ended what it did before."""
        known = self._jobs.get(job.key)
        if known is None:
            return NO_SPAN
        known.phase.end()
        known.phase = self._tracing.begin(
            name, parent=known.request, kind=kind, facts=_whose(job), ago=ago
        )
        return known.phase

    def _work(self, job: Job, need: Need) -> Span:
        known = self._jobs.get(job.key)
        if known is None:
            return NO_SPAN
        facts: dict[str, Value] = {spans.WORK: need.work.kind}
        name = "prepare"
        if isinstance(need.work, BuildTask):
            name, build = "candidate", candidate_of(need)
            task = build.task
            called = candidate_name(build.compiler, task.kernels, task.options)
            facts |= {spans.COMPILER: build.compiler, spans.CANDIDATE: called}
        elif isinstance(need.work, JudgeTask):
            name = "judge"
        facts |= {spans.ACTION: need.action, spans.POOL: need.pool}
        return self._tracing.begin(name, parent=known.request, facts=facts | _whose(job))

    def _end(self, key: Key, state: str, error: str) -> None:
        known = self._jobs.pop(key, None)
        if known is None:
            return
        for span in (*known.works.values(), known.phase):
            span.end()
        known.request.set({spans.STATE: state})
        known.request.end(error)


def _age(job: Job) -> float:
    """Return for how many seconds a job has been here; its clock is `SystemClock`."""
    return max(0.0, time.monotonic() - job.received)


def _whose(job: Job) -> dict[str, Value]:
    return {spans.JOB: job.job_id, spans.TENANT: job.tenant}


def _named(job: Job, traceparent: str | None = None) -> dict[str, str]:
    """Return how logs name a job, and its trace."""
    context = traceparent or job.traceparent
    ids = Context(context).ids if context else {}
    return {"tenant": job.tenant, "job_id": job.job_id, **ids}


def _error(end: TaskEnd) -> str:
    failed = end.outcome is not None and end.outcome.report.status is CandidateStatus.FAILED
    if end.status in (TaskStatus.FAILED, TaskStatus.QUARANTINED) or failed:
        return "; ".join(end.reasons) or end.status.value
    return ""
