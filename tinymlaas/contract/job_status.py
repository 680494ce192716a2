"""What a client is told of its jobs: what `submit`, `status` and `fetch` print as JSON."""

from __future__ import annotations

from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import Sha256
from tinymlaas.contract.messages import JobEnd, JobId, JobStanding, JobState, TenantName
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.report import CandidateReport


class Submitted(Model):
    """A request that the broker has; `replays` is the earlier job whose order it repeats."""

    job_id: JobId
    tenant: TenantName
    replays: JobId | None = None


class JobStatus(Model):
    """How a job stands or how it ended.

    While it waits: `position` counts the jobs that go before it, from 0, `waits_for` says what it
    waits for, `estimate_seconds` guesses how long. While it runs: the `pool`, the `candidate` it is
    at, its `stage`, `percent` and the last `line` of its log; it is the latest news of several that
    may be at work, and `candidates_done` of `candidates_total` have come to their ends. Once the
    job has ended: `reasons`, and for one that was
    compiled all that ``compile --json`` prints under the same names; `module` is the archive's
    key in the store, `location` its address. `log` is the digest of the log of what ended it badly.
    """

    job_id: JobId
    tenant: TenantName
    status: JobState
    position: int | None = None
    waits_for: tuple[str, ...] = ()
    estimate_seconds: float | None = None
    pool: str | None = None
    candidate: str | None = None
    stage: str | None = None
    percent: int | None = None
    line: str | None = None
    candidates_done: int | None = None
    candidates_total: int | None = None
    reasons: tuple[str, ...] = ()
    board: str | None = None
    module: str | None = None
    location: str | None = None
    action_digest: str | None = None
    chosen: int | None = None
    candidates: tuple[CandidateReport, ...] = ()
    quantisation: QuantisationReport | None = None
    log: Sha256 | None = None

    @property
    def final(self) -> bool:
        """True if the job has ended."""
        return self.status.final


class FetchedModule(Model):
    """A module that was fetched and verified: its files, and the SHA-256 of the signer's key."""

    job_id: JobId
    tenant: TenantName
    module: str
    provenance: str
    signer: Sha256


def status_of_standing(standing: JobStanding, state: JobState) -> JobStatus:
    """Return the status of an unfinished job that is in `state`."""
    return JobStatus(
        job_id=standing.job_id,
        tenant=standing.tenant,
        status=state,
        position=standing.position,
        waits_for=standing.waits_for,
        estimate_seconds=standing.estimate_seconds,
        pool=standing.pool,
        candidate=standing.candidate,
        stage=standing.stage,
        percent=standing.percent,
        line=standing.line,
        candidates_done=standing.candidates_done,
        candidates_total=standing.candidates_total,
        reasons=standing.reasons,
    )


def status_of_end(end: JobEnd, bucket: str) -> JobStatus:
    """Return the status of a job that has ended, whose module is in `bucket`."""
    result = end.result
    module = result.module if result else None
    return JobStatus(
        job_id=end.job_id,
        tenant=end.tenant,
        status=end.state,
        reasons=end.reasons or (result.reasons if result else ()),
        board=end.board,
        module=module,
        location=f"s3://{bucket}/{module}" if module else None,
        action_digest=result.action_digest if result else None,
        chosen=result.chosen if result else None,
        candidates=result.candidates if result else (),
        quantisation=result.quantisation if result else None,
        log=end.log,
    )
