"""What a person reads of jobs on a farm; made from contract types only."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinymlaas import render, words
from tinymlaas.contract.job_status import FetchedModule, JobStatus
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.queue_messages import QueueReport
from tinymlaas.contract.report import CompileResult, ResultStatus
from tinymlaas.contract.store_report import StoreReport

_UNFINISHED = (JobState.QUEUED, JobState.PLANNING, JobState.COMPILING)


def change(status: JobStatus) -> str:
    """Return how a job stands as one line."""
    parts = []
    if status.stage:
        percent = "" if status.percent is None else f" {status.percent}%"
        line = f": {status.line}" if status.line else ""
        parts.append(f"{_who(status)}{status.stage}{percent}{line}")
    elif status.waits_for:
        parts.append(f"waits for {', '.join(status.waits_for)}")
    if status.estimate_seconds is not None and not status.stage:
        parts.append(f"about {words.seconds(status.estimate_seconds)} left")
    done = _done(status)
    state = f"{status.status}, {done}" if done else str(status.status)
    return f"{state}: {'; '.join(parts)}" if parts else state


def _who(status: JobStatus) -> str:
    """Return who is at work, as the table of results will call it."""
    who = status.candidate or status.pool
    return f"{who}: " if who else ""


def _done(status: JobStatus) -> str:
    """Return how many of several candidates have come to their ends; nothing of one alone."""
    total = status.candidates_total or 0
    return f"{status.candidates_done} of {total} done" if total > 1 else ""


def standing(status: JobStatus) -> Iterator[str]:
    """Yield the lines that say how a job stands, aligned as those of a finished module."""
    yield f"job         {status.job_id}"
    yield f"tenant      {status.tenant}"
    yield f"status      {status.status}"
    if done := _done(status):
        yield f"candidates  {done}"
    if not status.stage:  # else it is being done
        for what in status.waits_for:
            yield f"waits for   {what}"
        if status.position is not None:
            yield f"position    {status.position}"
    if status.estimate_seconds is not None:
        yield f"estimate    about {words.seconds(status.estimate_seconds)} (from the last builds)"
    if status.stage:
        percent = "" if status.percent is None else f" {status.percent}%"
        yield f"stage       {_who(status)}{status.stage}{percent}"
    if status.line:
        yield f"log         {status.line}"


def result(status: JobStatus) -> RenderableType:
    """Return the report of a finished job, as `tinymlaas compile` shows it."""
    found = CompileResult(
        status=ResultStatus.DONE if status.status is JobState.DONE else ResultStatus.FAILED,
        reasons=status.reasons,
        chosen=status.chosen,
        candidates=status.candidates,
    )
    return render.compile_result(found, status.board or "the board")


def ending(status: JobStatus) -> Iterator[str]:
    """Yield the lines that say where the results of a finished job are."""
    if status.location:
        yield f"module      {status.location}"
        yield f"action      {status.action_digest}"
    if status.log:
        yield f"log         blob {status.log}"


def fetched(found: FetchedModule) -> Iterator[str]:
    """Yield the lines that say what was fetched."""
    yield f"module      {found.module}"
    yield f"provenance  {found.provenance}"
    yield f"signer      {found.signer}"


def queue(report: QueueReport) -> RenderableType:
    """Return who waits."""
    parts: list[RenderableType] = []
    if report.scheduler:
        parts += [_tenants(report), _pools(report)]
    parts.append(Text(f"unread      {report.unread:,} requests that no scheduler has taken"))
    for name, count in report.dead.items():
        if count:
            parts.append(Text(f"dead        {count:,} in {name}: look at them"))
    return Group(*parts)


def _tenants(report: QueueReport) -> RenderableType:
    if not report.tenants:
        return Text("nobody waits")
    table = Table("tenant", box=box.SIMPLE_HEAD, pad_edge=False)
    for state in _UNFINISHED:
        table.add_column(str(state), justify="right")
    for each in report.tenants:
        table.add_row(each.tenant, *(f"{each.jobs.get(state, 0):,}" for state in _UNFINISHED))
    return table


def _pools(report: QueueReport) -> RenderableType:
    table = Table("pool", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("workers", "busy", "sent", "waiting", "s a task"):
        table.add_column(heading, justify="right")
    for pool in report.pools:
        counts = (pool.workers, pool.busy, pool.sent, pool.waiting)
        took = "–" if pool.seconds is None else f"{pool.seconds:.1f}"
        table.add_row(pool.pool, *(f"{count:,}" for count in counts), took)
    return table


def swept(report: StoreReport) -> Iterator[str]:
    """Yield the lines that say what retention has removed."""
    yield f"store       {report.store}"
    verb = "would go" if report.dry_run else "removed"
    yield f"{verb:<12}{report.removed:,} of its objects, {report.removed_bytes:,} B"
    yield f"kept        {report.kept:,}, {report.kept_bytes:,} B"
    if report.aborted_uploads:
        yield f"gave up     {report.aborted_uploads:,} uploads that were never finished"
