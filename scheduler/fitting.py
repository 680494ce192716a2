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

_ABLE = (Verdict.FITS, Verdict.TIGHT)
_ORDER = {verdict: place for place, verdict in enumerate(Verdict)}  # the best first


@dataclass(frozen=True)
class Estimated:
    """A candidate and what its compiler says it will take, or why it cannot be built."""

    candidate: Candidate
    estimate: Estimate | None = None
    reasons: tuple[str, ...] = ()


def fit(profile: DeviceProfile, found: Sequence[Estimated]) -> BoardFit:
    """Return the best verdict that a candidate has on a board, and the numbers of a candidate.

    Of the compiler that leaves most room it is the variant listed first among those that do as
    well, which is the one that the objective asks for: so `compile` says the same. Where a compiler
    takes the model and does not say how large it becomes, nothing is certain, unless another that
    needs less than all who say is certainly far too large.
    """
    room = _Room.on(profile)
    known = [(each, each.estimate) for each in found if each.estimate is not None]
    silent = any(each.estimate is None and not each.reasons for each in found)
    if not known:
        reasons = tuple(
            f"{each.candidate.compiler.name}: {reason}" for each in found for reason in each.reasons
        )
        verdict = Verdict.TIGHT if silent else Verdict.NO
        return _plain(profile, verdict, tuple(dict.fromkeys(reasons)))
    verdict = min((room.verdict(said) for _, said in known), key=_ORDER.__getitem__)
    if verdict in _ABLE:
        known = [(each, said) for each, said in known if room.verdict(said) is verdict]
    best, estimate = min(known, key=lambda pair: room.share(pair[1]))
    if verdict not in _ABLE:
        uncertain = silent or verdict is Verdict.UNLIKELY
        far = room.certainly(estimate) > 1 + ESTIMATE_ERROR
        verdict = Verdict.UNLIKELY if uncertain and not far else Verdict.NO
    else:
        best, estimate = next(pair for pair in known if _alike(pair[0], best))
    return _plain(profile, verdict, room.lacking(estimate)).model_copy(
        update={
            "level": Level.ESTIMATED,
            "compiler": best.candidate.compiler.name,
            "kernels": best.candidate.kernels,
            "options": best.candidate.options,
            "flash_bytes": estimate.flash_bytes,
            "ram_bytes": estimate.ram_bytes,
        }
    )


def _alike(one: Estimated, other: Estimated) -> bool:
    """Return whether they are variants of one compiler with one kernel library."""
    a, b = one.candidate, other.candidate
    return (a.compiler.name, a.kernels) == (b.compiler.name, b.kernels)


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


@dataclass(frozen=True)
class _Room:
    """Bytes of flash and RAM: of all regions, and of the largest, as what is one cannot be split.

    The arena is one, and so are all constants.
    """

    total: tuple[int, int]
    largest: tuple[int, int]

    @staticmethod
    def on(profile: DeviceProfile) -> _Room:
        """Return the room on a board."""
        flash, ram = (
            [region.length for region in profile.memory if region.kind is kind] or [0]
            for kind in (MemoryKind.FLASH, MemoryKind.RAM)
        )
        return _Room((sum(flash), sum(ram)), (max(flash), max(ram)))

    def share(self, estimate: Estimate) -> float:
        """Return the larger of the shares of flash and RAM that are taken."""
        return _share((estimate.flash_bytes, estimate.ram_bytes), self.total)

    def certainly(self, estimate: Estimate) -> float:
        """Return the larger of the shares that are taken however wrong the estimate is."""
        return _share((estimate.flash_at_least, estimate.ram_at_least), self.total)

    def verdict(self, estimate: Estimate) -> Verdict:
        """Return what the estimate, whose error is a share of the linked size, says."""
        needed = (estimate.flash_bytes, estimate.ram_bytes)
        if _share(needed, self.largest) <= 1 - ESTIMATE_ERROR:
            return Verdict.FITS
        if self.certainly(estimate) > 1:
            return Verdict.NO
        likely = self.share(estimate) <= 1 + ESTIMATE_ERROR
        return Verdict.TIGHT if likely else Verdict.UNLIKELY

    def lacking(self, estimate: Estimate) -> tuple[str, ...]:
        """Return a reason for each memory that the estimate is larger than."""
        needed = (
            max(estimate.flash_bytes, estimate.flash_at_least),
            max(estimate.ram_bytes, estimate.ram_at_least),
        )
        return tuple(
            f"needs {size:,} B {what} of {room:,} B (estimated)"
            for what, size, room in zip(("flash", "RAM"), needed, self.total, strict=True)
            if size > room
        )


def _share(needed: tuple[int, int], capacities: tuple[int, int]) -> float:
    """Return the larger of the shares of flash and RAM."""
    return max(a / max(b, 1) for a, b in zip(needed, capacities, strict=True))


def _plain(profile: DeviceProfile, verdict: Verdict, reasons: tuple[str, ...]) -> BoardFit:
    flash, ram = _Room.on(profile).total
    return BoardFit(
        board=profile.name,
        mcu=profile.mcu,
        core=profile.core,
        flash_capacity=flash,
        ram_capacity=ram,
        verdict=verdict,
        reasons=reasons,
    )
