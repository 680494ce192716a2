"""What travels between scheduler and workers: a candidate to build, and its outcome."""

from __future__ import annotations

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import CompileTask
from tinymlaas.contract.digest import Sha256
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.report import CandidateReport


class Inspection(Model):
    """Finished work of the inspect stage: the facts, and the digest of the static model.

    `source_digest` is of the file as given; `static_digest` of the same model with every dynamic
    dimension fixed (equal where there was none). Both are stored as blobs.
    """

    source_digest: Sha256
    static_digest: Sha256
    summary: ModelSummary


class CandidateJob(Model):
    """One candidate to build. `action_digest` is over everything that can change its bytes."""

    action_digest: Sha256
    task: CompileTask
    compiler: str
    source_digest: Sha256
    static_digest: Sha256
    shapes: dict[str, tuple[int, ...]] = {}


class Outcome(Model):
    """Finished work of a candidate, found again by the action digest its report names.

    `archive_digest` names the module archive; None where there is no module (rejected).
    """

    report: CandidateReport
    archive_digest: Sha256 | None = None

    def answers(self, compiler: str, action_digest: str) -> bool:
        """Return whether it is of this very action, by this compiler, about the module it names."""
        report = self.report
        return (report.compiler, report.action_digest, report.module_digest) == (
            compiler,
            action_digest,
            self.archive_digest,
        )
