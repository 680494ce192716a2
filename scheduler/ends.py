"""How jobs and candidates end, as events and reports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from scheduler.choice import conclude
from scheduler.jobs import Job, Plan
from scheduler.sending import SOURCE
from scheduler.wanted import Action
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.messages import CompileOrder, JobEnd, JobEnded, JobState
from tinymlaas.contract.pool_messages import BuildTask, TaskEnd, TaskStatus
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
    reports = plan.reports()
    result = conclude(reports, plan.order.objective, plan.order.race)
    result = result.model_copy(update={"quantisation": plan.quantisation})
    if result.chosen is not None:
        module = reports[result.chosen].module_digest
        path = f"tenants/{plan.order.tenant}/modules/{module}/module.zip" if module else None
        return JobState.DONE, result.model_copy(update={"module": path})
    return JobState.QUARANTINED if plan.quarantined else _STATES[result.status], result


def end_event(
    job: Job,
    state: JobState,
    reasons: tuple[str, ...],
    result: CompileResult | None,
    time: datetime,
    last_words: bytes | None = None,
) -> JobEnded:
    """Return the final event of `job`; whoever makes it, its id is the same.

    It names its build's log, or `last_words`.
    """
    log = job.plan.log if job.plan else None
    order = job.plan.order if job.plan else CompileOrder.model_validate_json(job.order)
    device = order.device.name if order.device else None
    end = JobEnd(
        tenant=job.tenant,
        job_id=job.job_id,
        state=state,
        reasons=reasons,
        result=result,
        board=order.board or device,
        log=log or (sha256(last_words) if last_words else None),
        order=order.model_copy(update={"reply": None}),
    )
    return JobEnded(
        id=digest_of([job.tenant, job.job_id, "end"])[:32],
        source=SOURCE,
        time=time,
        traceparent=job.traceparent,
        tracestate=job.tracestate,
        data=end,
    )


def refused_event(job: Job, reasons: tuple[str, ...]) -> JobEnded:
    """Return what the sender of a request that makes no job is told; it is no record of a job."""
    end = JobEnd(tenant=job.tenant, job_id=job.job_id, state=JobState.REJECTED, reasons=reasons)
    return JobEnded(id=f"refusal-{job.job_id}", source=SOURCE, data=end)


def answered(end: TaskEnd) -> TaskEnd:
    """Return `end`, a failure where its outcome is not of the action and pool that it names."""
    if end.outcome is None or end.outcome.answers(end.pool, end.action):
        return end
    reason = f"worker {end.worker} gave the outcome of something else than was asked"
    return end.model_copy(
        update={"status": TaskStatus.FAILED, "reasons": (reason,), "outcome": None}
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
