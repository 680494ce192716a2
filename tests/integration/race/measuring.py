"""The race run by hand: every candidate built alone, and the winner worked out anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.archive import read_archive
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective
from tinymlaas.local import LocalService, Wish

NUMBERS = {
    Objective.LATENCY: "instructions",
    Objective.FLASH: "flash_bytes",
    Objective.RAM: "ram_bytes",
}
# Each compiler with each of its variants, as docs/choosing.md has them.
VARIANTS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("cmsis-nn/portable", {"objective": "latency"}),
    ("cmsis-nn/portable", {"objective": "flash"}),
    ("cmsis-nn/portable", {"objective": "latency", "specialise": "off"}),
    ("cmsis-nn/arm", {"objective": "latency"}),
    ("tflm", {}),
    ("tvm", {"objective": "latency"}),
    ("tvm", {"objective": "flash"}),
)


Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Measured:
    """What the archive of a module built alone says of itself; `exact` if as its reference."""

    instructions: int
    flash_bytes: int
    ram_bytes: int
    exact: bool

    def of(self, objective: Objective) -> int:
        """Return the number that `objective` is to make small."""
        return int(getattr(self, NUMBERS[objective]))

    def shown(self) -> tuple[int, int, int]:
        return (self.instructions, self.flash_bytes, self.ram_bytes)


@dataclass(frozen=True)
class Alone:
    """One candidate compiled with nothing to race against."""

    report: CandidateReport
    measured: Measured | None


def alone(
    racing: LocalService,
    model: Path,
    board: str,
    folder: Path,
    variants: Iterable[tuple[str, Mapping[str, str]]] = VARIANTS,
) -> list[Alone]:
    """Compile `model` once for each variant, by its name; read the numbers from the archive."""
    found = []
    for compiler, options in variants:
        result = racing.compile(model, board, Wish(compiler, options=options), folder).result
        (report,) = result.candidates
        verified = report.status is CandidateStatus.VERIFIED
        found.append(Alone(report, measured(Path(result.module or "")) if verified else None))
    return found


def measured(module: Path) -> Measured:
    """Return the numbers of a verified module."""
    manifest = read_archive(module.read_bytes()).manifest
    proof, footprint = manifest.verification, manifest.footprint
    assert proof is not None
    assert proof.instructions is not None
    assert footprint.ram_bytes is not None
    exact = proof.numerics.bit_exact or proof.numerics.max_rel_error <= 1e-4
    return Measured(proof.instructions, footprint.flash_bytes, footprint.ram_bytes, exact)


def best(race: Iterable[Measured], objective: Objective) -> Measured:
    """Return who must win: of those right to the bit and within 2% of the least the smallest."""
    all_of_them = list(race)
    right = [each for each in all_of_them if each.exact] or all_of_them
    least = min(each.of(objective) for each in right)
    near = [each for each in right if each.of(objective) <= 1.02 * least]
    return min(
        near,
        key=lambda each: (
            each.flash_bytes + each.ram_bytes,
            each.of(objective),
            each.instructions,
        ),
    )


def explained(report: CandidateReport, chosen: CandidateReport, objective: Objective) -> str:
    """Return what is missing in the reason why `report` lost to `chosen`; empty if nothing is."""
    if report.status is CandidateStatus.REJECTED or report.status is CandidateStatus.FAILED:
        return "" if report.reasons else "no reason"
    own, other = (getattr(each, NUMBERS[objective]) for each in (report, chosen))
    if report.status is CandidateStatus.BUILT:
        wanted = "not run"
    elif not (report.bit_exact or (report.max_rel_error or 0.0) <= 1e-4):
        wanted = "near the reference's"
    elif own > 1.02 * other:
        wanted = f"{own:,} .* {own / other:.3g} times the chosen one's {other:,}"
    else:
        wanted = "as good within 2% but larger|the same numbers"
    return "" if re.search(wanted, report.lost) else f"{wanted!r} is not in {report.lost!r}"


def key(report: CandidateReport) -> Key:
    """Return what names a candidate."""
    return (report.compiler, report.kernels, tuple(sorted(report.options.items())))
