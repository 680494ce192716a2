"""Which limits of a race a candidate breaks, in words, and what a limit on the error counts."""

from __future__ import annotations

from collections.abc import Iterator

from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.race import Limits
from tinymlaas.contract.report import CandidateReport, total_error


def broken(report: CandidateReport, limits: Limits) -> list[str]:
    """Return a line for each limit that `report` does not keep, or is not known to keep."""
    return [*_most(report, limits), *_least(report, limits)]


def _most(report: CandidateReport, limits: Limits) -> Iterator[str]:
    for what, number, limit in (
        ("bytes of flash", report.flash_bytes, limits.flash_bytes),
        ("bytes of RAM", report.ram_bytes, limits.ram_bytes),
        ("instructions", report.instructions, limits.instructions),
    ):
        if limit is None:
            continue
        if number is None:
            yield f"its {what} are not known, and up to {limit:,} are allowed"
        elif number > limit:
            yield f"{number:,} {what}, more than the {limit:,} allowed"


def _least(report: CandidateReport, limits: Limits) -> Iterator[str]:
    error = total_error(report)
    if limits.error is not None and (error is None or error > limits.error):
        found = "not known" if error is None else f"{error:.6g} of the output's range"
        yield f"its error is {found}, up to {limits.error:g} is allowed"
    if limits.accuracy is not None and (report.accuracy or 0.0) < limits.accuracy:
        found = "not known" if report.accuracy is None else f"{100 * report.accuracy:.6g}%"
        yield f"its accuracy is {found}, at least {100 * limits.accuracy:.6g}% is wanted"


def of_form(report: CandidateReport, quantised: QuantisationReport | None) -> CandidateReport:
    """Return `report` with what is known of the form of the model that was compiled.

    A build sees only the model it is given; whether that was quantised on the way, and how far that
    took it from the model as given, the job knows.
    """
    if quantised is None:
        return report
    error = max((each.max_error for each in quantised.errors), default=None)
    return report.model_copy(update={"quantised": True, "quantisation_error": error})
