"""From estimates to boards: what fits where, the smallest board first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scheduler.candidates import Candidate
from tinymlaas.contract.compiler import ESTIMATE_ERROR, Estimate
from tinymlaas.contract.device import DeviceProfile, MemoryKind
from tinymlaas.contract.fit import BoardFit, Verdict
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    ResultStatus,
)

_ORDER = {verdict: place for place, verdict in enumerate(Verdict)}  # the best first


@dataclass(frozen=True)
class Estimated:
    """A candidate and what its compiler says it will take, or why it cannot be built."""

    candidate: Candidate
    estimate: Estimate | None = None
    reasons: tuple[str, ...] = ()


def fit(profile: DeviceProfile, found: Sequence[Estimated]) -> BoardFit:
    """Return the verdict for a board by the candidate that leaves most room on it."""
    capacities = _capacities(profile)
    known = [(each, each.estimate) for each in found if each.estimate is not None]
    if not known:
        reasons = tuple(
            f"{each.candidate.compiler.name}: {reason}" for each in found for reason in each.reasons
        )
        unknown = any(not each.reasons for each in found)
        verdict = Verdict.TIGHT if unknown else Verdict.NO
        return _plain(profile, verdict, tuple(dict.fromkeys(reasons)))
    best, estimate = min(known, key=lambda pair: _use(pair[1], capacities))
    verdict = _verdict(estimate, capacities)
    return _plain(profile, verdict, _too_large(estimate, capacities)).model_copy(
        update={
            "level": Level.ESTIMATED,
            "compiler": best.candidate.compiler.name,
            "kernels": best.candidate.kernels,
            "options": best.candidate.options,
            "flash_bytes": estimate.flash_bytes,
            "ram_bytes": estimate.ram_bytes,
        }
    )


def verified(board: BoardFit, result: CompileResult) -> BoardFit:
    """Return what is known of a board now that compiling for it has ended with `result`.

    Only what was linked or run replaces the estimate; of what failed by our fault the reason is
    added, and the estimate stands.
    """
    if result.chosen is not None:
        return _proven(board, result.candidates[result.chosen])
    if result.status is ResultStatus.FAILED:
        return board.model_copy(update={"reasons": (*board.reasons, *result.reasons)})
    linked = [r for r in result.candidates if r.size_level is Level.LINKED and r.flash_bytes]
    if not linked:  # turned away by facts or estimate
        return board.model_copy(update={"verdict": Verdict.NO, "reasons": result.reasons})
    capacities = (board.flash_capacity, board.ram_capacity)
    nearest = min(linked, key=lambda r: _share((r.flash_bytes or 0, r.ram_bytes or 0), capacities))
    return board.model_copy(
        update={**_numbers(nearest), "verdict": Verdict.NO, "reasons": result.reasons}
    )


def _proven(board: BoardFit, report: CandidateReport) -> BoardFit:
    """Return `board` with the numbers of the chosen candidate, as far as these were linked."""
    if report.size_level is Level.ESTIMATED:  # nothing here links for this core
        return board.model_copy(update={"reasons": report.reasons})
    found = {"verdict": Verdict.FITS, "reasons": report.reasons}
    return board.model_copy(update={**_numbers(report), **found})


def _numbers(report: CandidateReport) -> dict[str, object]:
    proven = report.status is CandidateStatus.VERIFIED
    return {
        "level": report.level if proven else report.size_level,
        "compiler": report.compiler,
        "kernels": report.kernels,
        "options": report.options,
        "flash_bytes": report.flash_bytes,
        "ram_bytes": report.ram_bytes,
        "instructions": report.instructions,
        "module_digest": report.module_digest,
    }


def cheapest_first(boards: Iterable[BoardFit]) -> list[BoardFit]:
    """Return what fits, then what is tight, and so on; the smaller memory is the cheaper.

    Profiles hold no prices: those change, what a chip has does not.
    """
    return sorted(
        boards,
        key=lambda b: (_ORDER[b.verdict], b.flash_capacity, b.ram_capacity, b.board),
    )


def _capacities(profile: DeviceProfile) -> tuple[int, int]:
    capability = profile.capability_class()
    flash, ram = (capability.capacity(kind) for kind in (MemoryKind.FLASH, MemoryKind.RAM))
    return flash or 0, ram or 0


def _use(estimate: Estimate, capacities: tuple[int, int]) -> float:
    """Return the larger of the shares of flash and RAM that are taken."""
    return _share((estimate.flash_bytes, estimate.ram_bytes), capacities)


def _share(needed: tuple[int, int], capacities: tuple[int, int]) -> float:
    return max(a / max(b, 1) for a, b in zip(needed, capacities, strict=True))


def _verdict(estimate: Estimate, capacities: tuple[int, int]) -> Verdict:
    use = _use(estimate, capacities)
    if use * (1 + ESTIMATE_ERROR) <= 1:
        return Verdict.FITS
    certain = zip((estimate.flash_at_least, estimate.ram_at_least), capacities, strict=True)
    if any(least > room for least, room in certain):
        return Verdict.NO
    return Verdict.TIGHT if use * (1 - ESTIMATE_ERROR) <= 1 else Verdict.UNLIKELY


def _too_large(estimate: Estimate, capacities: tuple[int, int]) -> tuple[str, ...]:
    needed = (estimate.flash_bytes, estimate.ram_bytes)
    parts = zip(("flash", "RAM"), needed, capacities, strict=True)
    return tuple(
        f"needs {size:,} B {what} of {room:,} B (estimated)"
        for what, size, room in parts
        if size > room
    )


def _plain(profile: DeviceProfile, verdict: Verdict, reasons: tuple[str, ...]) -> BoardFit:
    flash, ram = _capacities(profile)
    return BoardFit(
        board=profile.name,
        mcu=profile.mcu,
        core=profile.core,
        flash_capacity=flash,
        ram_capacity=ram,
        verdict=verdict,
        reasons=reasons,
    )
