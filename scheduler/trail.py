"""Who follows each job through the core, for logs and traces: told of it as it happens."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from scheduler.jobs import Job
from scheduler.planning import Need
from scheduler.wanted import Action
from tinymlaas.contract.messages import JobEnded, JobState
from tinymlaas.contract.pool_messages import TaskEnd
from tinymlaas.contract.report import CandidateReport


class Sent(NamedTuple):
    """W3C trace contexts of what a task is sent for: of one job, and `others` that want it too."""

    traceparent: str
    others: tuple[str, ...] = ()


class Trail(Protocol):
    """Takes notes; called by the core's thread, so no method may wait for anything, or raise."""

    def planning(self, job: Job) -> str | None:
        """Follow a job whose turn it is, perhaps again; return the trace context that what comes of
        it bears from here on, None if that remains what it is.
        """
        ...

    def planned(self, job: Job) -> None:
        """Note that its candidates are known, and which of them the store has."""
        ...

    def found(self, job: Job, need: Need, report: CandidateReport) -> None:
        """Note that the store has what a candidate would come to."""
        ...

    def wanted(self, job: Job, need: Need) -> None:
        """Note that the job waits for a piece of work."""
        ...

    def sent(self, action: Action) -> Sent | None:
        """Note that a piece of work goes to its pool; None where nothing is traced."""
        ...

    def ended(self, job: Job, need: Need, end: TaskEnd, traceparent: str | None) -> None:
        """Note what came of work that the job waits for; the worker has told it in that trace."""
        ...

    def left(self, job: Job, action: str) -> None:
        """Note that the job waits for a piece of work no more."""
        ...

    def ending(self, job: Job, event: JobEnded) -> None:
        """Note that the job's end is about to be recorded and published."""
        ...

    def finished(self, job: Job, state: JobState) -> None:
        """Note that it was: nothing more comes of this job."""
        ...

    def dropped(self, job: Job, reason: str) -> None:
        """Note that the job was none: its sender is told the reason."""
        ...

    def forgotten(self) -> None:
        """Note that all jobs are let go of unfinished, to come again, here or elsewhere."""
        ...


class Untrailed:
    """`Trail` that notes nothing."""

    def planning(self, job: Job) -> str | None:
        """See `Trail.planning`."""
        return None

    def planned(self, job: Job) -> None:
        """See `Trail.planned`."""

    def found(self, job: Job, need: Need, report: CandidateReport) -> None:
        """See `Trail.found`."""

    def wanted(self, job: Job, need: Need) -> None:
        """See `Trail.wanted`."""

    def sent(self, action: Action) -> Sent | None:
        """See `Trail.sent`."""
        return None

    def ended(self, job: Job, need: Need, end: TaskEnd, traceparent: str | None) -> None:
        """See `Trail.ended`."""

    def left(self, job: Job, action: str) -> None:
        """See `Trail.left`."""

    def ending(self, job: Job, event: JobEnded) -> None:
        """See `Trail.ending`."""

    def finished(self, job: Job, state: JobState) -> None:
        """See `Trail.finished`."""

    def dropped(self, job: Job, reason: str) -> None:
        """See `Trail.dropped`."""

    def forgotten(self) -> None:
        """See `Trail.forgotten`."""
