"""Instructions, flash and RAM of the MLPerf Tiny models by core, compiler and kernel library.

    python benchmarks/kernels.py [--models kws_int8,ad_fp32] [--cores m4,m0+] [--compilers cmsis-nn]

Every row is a candidate of `tinymlaas compile`, made by the same service with the same store, so a
second run only reads. Instructions are exact counts of the simulator (no cycles, no milliseconds);
code and weights are what the linker says for the board, stack is what the run used of it. `exact`
says whether the outputs are the reference's bit for bit on the golden inputs, for int8 those of
TFLM; else the column is the largest relative error. `of direct` sets instructions beside those of
direct CMSIS-NN calls (`direct_cmsis.py`), for which the portable kernels have goals. What could not
be counted is explained below the table. Exit status 1: a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from direct_cmsis import DIRECT, SIZES, SOURCE

from tinymlaas import local, words
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.report import CandidateReport, CandidateStatus

FOLDER = Path(__file__).parents[2] / "shared" / "models" / "mlperf-tiny"
MODELS = ("ad_int8", "kws_int8", "ic_int8", "vww_int8")
# A board with room for every model, for each core that can be simulated.
BOARDS = {
    "m0+": "rpi-pico",
    "m3": "mps2-an385",
    "m4": "mps2-an386",
    "m7": "mps2-an500",
    "m33": "mps2-an505",
    "m55": "mps3-an547",
    "rv32": "esp32-c3-devkitm-1",
}
# The linker aligns sections and the module's tables lie beside them: not the kernels' doing.
_PADDING = 64
_HEAD = ("model", "core", "compiler", "Minstr", "code", "weights", "arena", "stack", "exact")
_LINE = "{:<9} {:<5} {:<18} {:>8} {:>8} {:>9} {:>8} {:>7} {:>10} {:>10}  {}"


@dataclass(frozen=True)
class Row:
    """One candidate. Bytes and `instructions` are None where nothing here can know them.

    `of_direct` is the ratio to direct CMSIS-NN calls, None where there is no such figure; `missed`
    names the goals that are not reached.
    """

    model: str
    core: str
    board: str
    compiler: str
    kernels: str
    status: str
    instructions: int | None = None
    code_bytes: int | None = None
    weight_bytes: int | None = None
    arena_bytes: int | None = None
    stack_bytes: int | None = None
    bit_exact: bool | None = None
    max_rel_error: float | None = None
    of_direct: float | None = None
    missed: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def measure(
    service: local.LocalService, model: str, core: str, compiler: str, folder: Path
) -> list[Row]:
    """Return a row for each kernel library of `compiler`; one with the reason if there is none."""
    wish = local.Wish(compiler)
    try:
        answer = service.compile(FOLDER / f"{model}.tflite", BOARDS[core], wish, folder)
    except TinymlaasError as error:
        status = CandidateStatus.REJECTED
        reason = str(error)
        return [Row(model, core, BOARDS[core], compiler, "-", status, reasons=(reason,))]
    return [judged(row_of(model, core, report)) for report in answer.result.candidates]


def row_of(model: str, core: str, report: CandidateReport) -> Row:
    """Return the figures of one candidate."""
    weights = sum(use.bytes for use in report.sections if use.section == ".weights")
    flash = report.flash_bytes
    ran = report.instructions is not None
    direct = DIRECT.get(model, {}).get(core)
    return Row(
        model,
        core,
        BOARDS[core],
        report.compiler,
        report.kernels,
        report.status,
        instructions=report.instructions,
        code_bytes=flash - weights if ran and flash is not None else None,
        weight_bytes=weights if ran else None,
        arena_bytes=report.arena_bytes,
        stack_bytes=report.stack_bytes,
        bit_exact=report.bit_exact,
        max_rel_error=report.max_rel_error,
        of_direct=report.instructions / 1e6 / direct.minstr
        if report.instructions is not None and direct
        else None,
        reasons=report.reasons,
    )


def judged(row: Row) -> Row:
    """Return `row` with the goals it misses; only portable int8 kernels have any."""
    if (row.compiler, row.kernels) != ("cmsis-nn", "portable") or row.model not in SIZES:
        return row
    return replace(row, missed=tuple(_missed(row)))


def _missed(row: Row) -> Iterator[str]:
    if row.status != CandidateStatus.VERIFIED or not row.bit_exact:
        yield "bit-exact"
        return
    size, direct = SIZES[row.model], DIRECT[row.model].get(row.core)
    if direct and row.of_direct is not None and row.of_direct > direct.goal:
        yield f"instructions {row.of_direct:.2f} > {direct.goal:.2f} of direct calls"
    bounds = (
        ("code", row.code_bytes, size.code),
        ("weights", row.weight_bytes, size.data + _PADDING),
        ("arena", row.arena_bytes, size.arena + _PADDING),
    )
    for name, got, most in bounds:
        if got is not None and got > most:
            yield f"{name} {got:,} > {most:,} B"


def text(row: Row) -> str:
    """Return `row` as a line of the table."""
    ran, error = row.instructions, row.max_rel_error
    return _LINE.format(
        row.model,
        row.core,
        f"{row.compiler}/{row.kernels}",
        "–" if ran is None else f"{ran / 1e6:.3f}",
        words.number(row.code_bytes),
        words.number(row.weight_bytes),
        words.number(row.arena_bytes),
        words.number(row.stack_bytes),
        "–" if error is None else words.relative(error, row.bit_exact),
        "–" if row.of_direct is None else f"{row.of_direct:.2f}",
        f"MISSED: {'; '.join(row.missed)}" if row.missed else row.status,
    )


def notes(rows: Sequence[Row]) -> list[str]:
    """Return why rows have no count of instructions, each reason once with how many it explains."""
    reasons = Counter(
        (f"{row.compiler}/{row.kernels}", str(row.status), "; ".join(row.reasons))
        for row in rows
        if row.reasons
    )
    return [
        f"{who} ({status}, {number} of the rows): {reason}"
        for (who, status, reason), number in reasons.items()
    ]


def _show(rows: Iterable[Row]) -> None:
    for row in rows:
        print(text(row), flush=True)


def _chosen(text_list: str, known: Sequence[str], what: str) -> list[str]:
    """Return the names in a comma-separated list; leave with a reason if one is unknown."""
    names = text_list.split(",")
    for name in names:
        if name not in known:
            sys.exit(f"there is no {what} {name}: choose from {', '.join(known)}")
    return names


def _arguments(compilers: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="default: %(default)s")
    parser.add_argument("--cores", default=",".join(BOARDS), help="default: %(default)s")
    parser.add_argument("--compilers", default=",".join(compilers), help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of the table")
    return parser.parse_args()


def main() -> int:
    """Print the table, a line as soon as it is known; return the exit status."""
    if not FOLDER.is_dir():
        sys.exit("the reference models are not beside the project")
    service = local.open_service()
    offered = [entry.description.name for entry in service.compilers().compilers]
    arguments = _arguments(offered)
    models = _chosen(arguments.models, sorted(p.stem for p in FOLDER.glob("*.tflite")), "model")
    cores = _chosen(arguments.cores, list(BOARDS), "core")
    compilers = _chosen(arguments.compilers, offered, "compiler")
    rows: list[Row] = []
    if not arguments.json:
        print(_LINE.format(*_HEAD, "of direct", "").rstrip())
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            for core in cores:
                for compiler in compilers:
                    found = measure(service, model, core, compiler, Path(folder))
                    rows += found
                    if not arguments.json:
                        _show(row for row in found if row.status != CandidateStatus.REJECTED)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(f"of direct: instructions beside {SOURCE}; bytes are of the linked board image")
        print("\n".join(notes(rows)))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
