"""Choose among finished candidates by the objective, and say how the job ended."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    Objective,
    ResultStatus,
)

# What comes first decides; the rest breaks ties, smaller first.
_ORDER = {
    Objective.LATENCY: ("instructions", "flash_bytes", "ram_bytes"),
    Objective.FLASH: ("flash_bytes", "ram_bytes", "instructions"),
    Objective.RAM: ("ram_bytes", "flash_bytes", "instructions"),
}


# An error, as a share of the output's range, that is rounding in float32 and no more.
_ROUNDING = 1e-4


def choose(candidates: Sequence[CandidateReport], objective: Objective) -> int | None:
    """Return the index of the best candidate, or None if none is usable.

    A verified candidate always beats one that was only built, and one that computes the reference's
    numbers (to the bit, or to rounding in float32) one that is only within tolerance. Then the
    objective decides; an unknown number counts as worst.
    """

    def rank(index: int) -> tuple[float | bool | str, ...]:
        report = candidates[index]
        numbers = [getattr(report, field) for field in _ORDER[objective]]
        unproven = report.status is not CandidateStatus.VERIFIED
        return (
            unproven,
            not _accurate(report),
            *(inf if n is None else n for n in numbers),
            report.compiler,
            index,
        )

    usable = [
        index
        for index, report in enumerate(candidates)
        if report.status in (CandidateStatus.VERIFIED, CandidateStatus.BUILT)
    ]
    return min(usable, key=rank, default=None)


def _accurate(report: CandidateReport) -> bool:
    error = report.max_rel_error
    return bool(report.bit_exact) or (error is not None and error <= _ROUNDING)


def conclude(candidates: Sequence[CandidateReport], objective: Objective) -> CompileResult:
    """Return the job's result: done with the chosen candidate, else rejected or failed.

    A job is `failed` if any candidate failed (it might have worked), `rejected` if all were.
    """
    chosen = choose(candidates, objective)
    if chosen is not None:
        digest = candidates[chosen].action_digest
        return CompileResult(
            status=ResultStatus.DONE,
            action_digest=digest,
            chosen=chosen,
            candidates=tuple(candidates),
        )
    failed = any(report.status is CandidateStatus.FAILED for report in candidates)
    return CompileResult(
        status=ResultStatus.FAILED if failed else ResultStatus.REJECTED,
        reasons=_reasons(candidates, failed),
        candidates=tuple(candidates),
    )


def _reasons(candidates: Sequence[CandidateReport], failed: bool) -> tuple[str, ...]:
    wanted = CandidateStatus.FAILED if failed else CandidateStatus.REJECTED
    several = len({report.compiler for report in candidates}) > 1
    told = sorted((r for r in candidates if r.status is wanted), key=_distance)
    reasons = (
        f"{report.compiler}: {reason}" if several else reason
        for report in told
        for reason in report.reasons
    )
    return tuple(dict.fromkeys(reasons))  # kernel libraries of one compiler share most of theirs


def _distance(report: CandidateReport) -> tuple[bool, bool, int]:
    """Return how far from working a candidate was: what came nearest is the most worth reading."""
    return report.flash_bytes is None, report.action_digest is None, len(report.reasons)
