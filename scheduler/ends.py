"""How jobs and candidates end, as events and reports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from scheduler.actions import SOURCE, Action
from scheduler.choice import conclude
from scheduler.jobs import Job, Plan
from tinymlaas.contract.digest import digest_of
from tinymlaas.contract.messages import JobEnd, JobEnded, JobState
from tinymlaas.contract.pool_messages import BuildTask, TaskEnd
from tinymlaas.contract.report import CandidateReport, CandidateStatus, CompileResult, ResultStatus

_STATES = {
    ResultStatus.DONE: JobState.DONE,
    ResultStatus.FAILED: JobState.FAILED,
    ResultStatus.REJECTED: JobState.REJECTED,
}


def conclusion(plan: Plan) -> tuple[JobState, CompileResult]:
    """Return how a job ends whose candidates all have.

    A candidate that was quarantined has the job quarantined only if no other is usable.
    """
    reports = [report for report in plan.reports if report is not None]
    result = conclude(reports, plan.order.objective, plan.order.race)
    if result.chosen is not None:
        module = reports[result.chosen].module_digest
        path = f"modules/{module}/module.zip" if module else None
        return JobState.DONE, result.model_copy(update={"module": path})
    return JobState.QUARANTINED if plan.quarantined else _STATES[result.status], result


def end_event(
    job: Job,
    state: JobState,
    reasons: tuple[str, ...],
    result: CompileResult | None,
    time: datetime,
) -> JobEnded:
    """Return the final event of `job`; whoever makes it, its id is the same."""
    order = job.plan.order if job.plan else None
    device = order.device.name if order and order.device else None
    end = JobEnd(
        tenant=job.tenant,
        job_id=job.job_id,
        state=state,
        reasons=reasons,
        result=result,
        board=order.board or device if order else None,
        log=job.plan.log if job.plan else None,
    )
    return JobEnded(
        id=digest_of([job.tenant, job.job_id, "end"])[:32],
        source=SOURCE,
        time=time,
        traceparent=job.traceparent,
        tracestate=job.tracestate,
        data=end,
    )


def report_of(action: Action, end: TaskEnd) -> CandidateReport:
    """Return the candidate's report, or make one of a task that gave none."""
    if end.outcome is not None:
        return end.outcome.report.model_copy(update={"cached": end.cached})
    work = action.need.work
    assert isinstance(work, BuildTask)  # noqa: S101 - for the type checker: the caller has asked
    reasons: Iterable[str] = end.reasons or ("the worker gave no outcome",)
    return CandidateReport(
        compiler=work.job.compiler,
        kernels=work.job.task.kernels,
        options=work.job.task.options,
        status=CandidateStatus.FAILED,
        reasons=tuple(reasons),
        action_digest=work.job.action_digest,
    )
