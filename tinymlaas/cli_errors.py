"""What an exception is called on the command line: whose fault it is, and why in one line each."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.report import ErrorReport, ResultStatus


@dataclass(frozen=True)
class Explanation:
    """`kind` stands before each reason on stderr; `report` is what ``--json`` prints."""

    kind: str
    report: ErrorReport

    @property
    def exit_status(self) -> int:
        """2 if the request is at fault, 1 if we are."""
        return 2 if self.report.status is ResultStatus.REJECTED else 1


def explain(error: Exception) -> Explanation:
    """Return what to say of `error`, which ended a command."""
    if isinstance(error, TinymlaasError):
        return _explanation("error", error.exit_code, *error.reasons)
    if isinstance(error, typer.TyperException):
        return _explanation("error", error.exit_code, error.format_message())
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return _explanation("error", 1, f"{where}{error.strerror}")
    reason = f"{type(error).__name__}: {error} (ours; TINYMLAAS_DEBUG=1 shows where)"
    return _explanation("internal error", 1, reason)


def _explanation(kind: str, exit_code: int, *reasons: str) -> Explanation:
    status = ResultStatus.REJECTED if exit_code == 2 else ResultStatus.FAILED
    lines = TinymlaasError(*reasons).reasons  # folded to one line each
    return Explanation(kind, ErrorReport(status=status, reasons=lines))
