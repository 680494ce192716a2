"""When a race is over before all its candidates are, and what is said of those left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from scheduler.limits import broken
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.race import Limits
from tinymlaas.contract.report import CandidateReport, CandidateStatus


@dataclass(frozen=True, slots=True)
class Hurry:
    """With `first` the first verified candidate that keeps the `limits` ends the race; `budget` is
    the most seconds of building and judging. What is in the store is taken in any case: it takes no
    time; to run a stored module on labelled samples that it never ran on does.
    """

    first: bool = False
    budget: float | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def any(self) -> bool:
        """Whether there may be candidates that are not tried."""
        return self.first or self.budget is not None

    def enough(self, report: CandidateReport) -> bool:
        """Return whether the race is over with this candidate."""
        verified = report.status is CandidateStatus.VERIFIED
        return self.first and verified and not broken(report, self.limits)

    def skipped(
        self, job: CandidateJob, begun: bool, done: Iterable[CandidateReport]
    ) -> CandidateReport:
        """Return the report of a candidate that was not tried, or not to its end.

        `done` are those that were: one of them was enough, or else the time was up.
        """
        what = "not finished" if begun else "not tried"
        if any(map(self.enough, done)):
            why = "as another was verified first"
        else:
            why = f"within the budget of {self.budget or 0.0:g} s"
        return CandidateReport(
            compiler=job.compiler,
            kernels=job.task.kernels,
            options=job.task.options,
            status=CandidateStatus.SKIPPED,
            reasons=(f"{what} {why}",),
            action_digest=job.action_digest,
        )
