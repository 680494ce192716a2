"""From what farm and store say to what the templates show; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinymlaas import words
from tinymlaas.contract.job_status import status_of_end
from tinymlaas.contract.messages import JobChanged, JobEnded, JobState
from tinymlaas.contract.queue_messages import FarmView
from tinymlaas.contract.report import CandidateReport, CompileResult, ResultStatus, name_of
from tinymlaas.status.templating import clock

_REASONS, _ROWS, _WHY = 20, 200, 100
_LOG_LINES = 200
_LOG_COLUMNS = 2000


@dataclass(frozen=True)
class Row:
    """One candidate, as the table of `tinymlaas compile` has it."""

    name: str
    status: str
    chosen: bool
    pareto: bool
    flash: str
    ram: str
    instructions: str
    error: str
    right: str


@dataclass(frozen=True)
class Use:
    """What a section takes of a memory region, or (`whole`) all of them of its length."""

    region: str
    section: str
    bytes: str
    length: str = ""
    free: str = ""
    percent: str = ""
    whole: bool = False
    over: bool = False


@dataclass(frozen=True)
class Fit:
    """How one candidate fits its board."""

    name: str
    level: str
    uses: tuple[Use, ...]
    estimate: tuple[str, ...]


def farm(view: FarmView) -> dict[str, Any]:
    """Return what is shown of all jobs."""
    totals = dict.fromkeys(JobState, 0)
    for each in view.tenants:
        for state, count in each.jobs.items():
            totals[state] += count
    unfinished = sum(totals.values())
    queued = totals[JobState.QUEUED]
    counts = {
        "running": unfinished - queued,
        "waiting": queued,
        "more": max(0, unfinished - len(view.jobs)),
        "workers": sum(pool.workers for pool in view.pools),
        "busy": sum(pool.busy for pool in view.pools),
        "done": sum(each.state is JobState.DONE for each in view.ended),
    }
    return {"view": view, "counts": counts}


def unfinished(told: JobChanged) -> dict[str, Any]:
    """Return what is shown of a job that has not ended."""
    standing, details = told.data, told.data.details
    order = details.order if details else None
    device = order.device.name if order and order.device else None
    return _nothing() | {
        "standing": standing,
        "state": standing.state,
        "ended": False,
        "order": order,
        "board": (order.board or device) if order else None,
        "reasons": standing.reasons,
        "log": _lines(details.tail if details else None) or _lines(standing.line),
        "trace": _trace(told.traceparent),
        "known_for": words.seconds(details.seconds) if details else None,
    }


def ended(record: JobEnded, tail: str | None) -> dict[str, Any]:
    """Return what is shown of a job that has ended, with the end of its log."""
    end, status = record.data, status_of_end(record.data, "")
    result = CompileResult(
        status=ResultStatus.DONE if end.state is JobState.DONE else ResultStatus.FAILED,
        chosen=status.chosen,
        candidates=status.candidates,
    )
    at = f"at {clock(record.time)} on {record.time:%Y-%m-%d}" if record.time else ""
    return _nothing() | {
        "state": end.state,
        "ended": True,
        "ended_at": at,
        "order": end.order,
        "board": end.board,
        "reasons": status.reasons,
        "rows": [_row(result, index) for index in range(min(len(result.candidates), _ROWS))],
        "judged": words.judged(result.candidates),
        "why": words.explanations(result)[:_WHY],
        "fits": [_fit(report) for report in words.shown_fits(result)],
        "downloads": end.state is JobState.DONE and status.module is not None,
        "log": _lines(tail),
        "trace": _trace(record.traceparent),
        "action": status.action_digest,
    }


def _nothing() -> dict[str, Any]:
    names = ("standing", "known_for", "action", "ended_at", "downloads", "judged")
    return dict.fromkeys(names) | dict.fromkeys(("rows", "why", "fits", "log"), ())


def _row(result: CompileResult, index: int) -> Row:
    report = result.candidates[index]
    return Row(
        name_of(report),
        report.status.value,
        index == result.chosen,
        report.pareto,
        words.number(report.flash_bytes),
        words.number(report.ram_bytes),
        words.millions(report.instructions),
        words.error(report),
        "–" if report.accuracy is None else f"{report.accuracy:.1%}",
    )


def _fit(report: CandidateReport) -> Fit:
    return Fit(
        name_of(report), str(report.size_level), tuple(_uses(report)), tuple(words.estimate(report))
    )


def _uses(report: CandidateReport) -> Iterator[Use]:
    for region in report.regions:
        for section in report.sections:
            if section.region == region.region:
                yield Use(region.region, section.section, words.number(section.bytes))
        yield Use(
            region.region,
            "all",
            words.number(region.used),
            words.number(region.length),
            words.number(region.free),
            f"{region.free_percent:.1f} %",
            whole=True,
            over=region.free < 0,
        )


def _lines(text: str | None) -> list[str]:
    """Return the last lines of a log; carriage returns, of progress bars, begin a new one."""
    lines = (text or "").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return [line[:_LOG_COLUMNS] for line in lines[-_LOG_LINES:]]


def _trace(traceparent: str | None) -> str | None:
    """Return the trace's id: the second part of W3C's traceparent."""
    return traceparent.split("-")[1] if traceparent else None
