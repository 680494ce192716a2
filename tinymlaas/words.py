"""What people are told of candidates, in words and numbers: the same on a terminal and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinymlaas.contract.manifest import Level
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    name_of,
    total_error,
)

_SMALL_ERROR = 1e-3  # a share of the range; larger ones read better in percent
_INT8_EXACT = "="
_LISTED_REASONS = 3
_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "min"))


def number(value: int | None, unit: str = "") -> str:
    """Return `value` with thousands separators, or a dash where it is not known."""
    return "–" if value is None else f"{value:,}{unit}"


def relative(value: float, bit_exact: bool | None) -> str:
    """Return a relative error, or that there is none."""
    if bit_exact and not value:
        return "bit-exact"
    return f"{value:.1e}" if value < _SMALL_ERROR else f"{value:.1%}"


def error(report: CandidateReport) -> str:
    """Return how far a candidate is from the model as given, quantising included.

    A module that equals a quantised form to the bit is as far off as that form is.
    """
    value = total_error(report)
    if value is None:
        return "–"
    equal = bool(report.bit_exact) and report.quantised and value > 0
    return relative(value, report.bit_exact) + _INT8_EXACT * equal


def millions(value: int | None) -> str:
    """Return a count of instructions: exact below a million, else in millions."""
    if value is None or value < 1_000_000:
        return number(value)
    return f"{value / 1e6:.2f} M"


def seconds(value: float) -> str:
    """Return a duration in the largest unit of which there are two or more."""
    for size, unit in _UNITS:
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.0f} s"


def mark(result: CompileResult, index: int) -> str:
    """Return the marks of a candidate: an arrow for the chosen one, a star if Pareto-optimal."""
    star = "*" if result.candidates[index].pareto else " "
    return f"{'➜' if index == result.chosen else ' '}{star}"


def judged(reports: Sequence[CandidateReport]) -> bool:
    """Return whether any was run on labelled samples."""
    return any(report.accuracy is not None for report in reports)


def _levels(reports: Sequence[CandidateReport]) -> list[str]:
    """Say how the numbers are known: the sizes, and what only a run can tell."""
    sized = [r for r in reports if r.size_level and r.flash_bytes is not None]
    ran = [r for r in reports if r.level and r.max_rel_error is not None]
    known = [f"flash and RAM {_known(sized, 'size_level')}"] if sized else []
    told = "instructions, error, right" if judged(reports) else "instructions, error"
    known += [f"{told} and the stack in RAM {_known(ran, 'level')}"] if ran else []
    return [f"how known: {'; '.join(known)}"] if known else []


def _known(reports: Sequence[CandidateReport], field: str) -> str:
    """Return the level that most of `reports` have in `field`, and which have another."""
    levels = [str(getattr(report, field)) for report in reports]
    most = max(dict.fromkeys(levels), key=levels.count)
    pairs = zip(reports, levels, strict=True)
    others = [f"{name_of(r)}: {level}" for r, level in pairs if level != most]
    return f"{most} ({', '.join(others)})" if others else most


def explanations(result: CompileResult) -> list[str]:
    """Return lines on how the numbers are known, on the choice, and on what is against others."""
    lines = _levels(result.candidates)
    for index, report in enumerate(result.candidates):
        name = name_of(report)
        if index == result.chosen:
            lines.append(f"{name}: {_chosen(report)}")
        elif report.lost:
            lines.append(f"{name}: not chosen: {report.lost}")
        if report.reasons:
            lines.append(f"{name}: {report.status}: {_in_short(report.reasons)}")
    return [*lines, *_legend(result.candidates)]


def _in_short(reasons: Sequence[str]) -> str:
    """Return the reasons as one line; of many the first, which says most."""
    if len(reasons) <= _LISTED_REASONS:
        return "; ".join(reasons)
    return f"{reasons[0]} (and {len(reasons) - 1} more reasons: --json lists all)"


def _legend(reports: Sequence[CandidateReport]) -> Iterator[str]:
    """Yield what the marks in the table mean, as far as there are any."""
    if any(report.pareto for report in reports):
        yield (
            "* Pareto-optimal: no other is at least as good in flash, RAM and instructions and "
            "better in one"
        )
    if any(r.quantised and total_error(r) is not None for r in reports):
        yield (
            "error of int8: from the float model, as --max-error counts it: what quantising did to "
            "the calibration samples and what compiling did"
        )
    if any(error(report).endswith(_INT8_EXACT) for report in reports):
        yield f"{_INT8_EXACT} equal to the int8 model bit for bit: all of its error is quantising"


def _chosen(report: CandidateReport) -> str:
    why = f"chosen: {report.won}; " if report.won else "chosen, "
    how = f"{why}{'found in the store' if report.cached else 'built now'}"
    if report.level is Level.HOST:
        return f"{how}; its model was run by the interpreter on the host"
    if report.status is CandidateStatus.BUILT:
        return f"{how}; not run, so its numbers are not proven"
    return f"{how}; outputs checked on {report.machine}"


def shown_fits(result: CompileResult) -> Iterator[CandidateReport]:
    """Yield the candidates whose fit is shown: the chosen one, or, of none, those too large."""
    for index, report in enumerate(result.candidates):
        misfit = result.chosen is None and report.status is CandidateStatus.REJECTED
        if report.regions and (index == result.chosen or misfit):
            yield report


def estimate(report: CandidateReport) -> Iterator[str]:
    """Yield how far off what was said before compiling is, if anything was."""
    pairs = (
        ("flash", report.estimated_flash_bytes, report.flash_bytes),
        ("RAM", report.estimated_ram_bytes, report.ram_bytes),
    )
    parts = [
        f"{what} {said:,} B ({said / is_ - 1:+.1%})" for what, said, is_ in pairs if said and is_
    ]
    if parts:
        yield f"estimated before compiling: {', '.join(parts)}"
