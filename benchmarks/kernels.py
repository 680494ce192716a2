"""Instructions, flash and RAM of the reference models by core, compiler and kernel library.

    python benchmarks/kernels.py [--models kws_fp32,ad_fp32] [--boards mps2-an386,mps2-an385]

Instructions are exact counts of the simulator (no cycles, no milliseconds), flash and RAM are what
the linker says for that board, stack included. Flags: see `cflags` in the module's manifest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tinymlaas import local, render
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.report import CandidateReport

MODELS = Path(__file__).parents[2] / "shared" / "models" / "mlperf-tiny"
NAMES = [f"{name}_{kind}" for kind in ("fp32", "int8") for name in ("ad", "kws", "ic", "vww")]
# One simulated machine for each Cortex-M core; any other board can be named.
BOARDS = ["mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"]
_HEAD = f"{'model':<10} {'board':<11} {'compiler':<20} {'Minstr':>8} {'code B':>8}"


def rows(model: str, board: str, directory: Path) -> list[str]:
    """Return a line for each candidate of `model` on `board`."""
    try:
        found = local.open_service().compile(
            MODELS / f"{model}.tflite", board, local.Wish(), directory
        )
    except TinymlaasError as error:
        return [f"{model:<10} {board:<11} {error}"]
    return [_row(model, board, report) for report in found.result.candidates]


def _row(model: str, board: str, report: CandidateReport) -> str:
    who = f"{report.compiler}/{report.kernels}"
    if report.instructions is None:
        return f"{model:<10} {board:<11} {who:<20} {report.status}: {'; '.join(report.reasons)}"
    weights = sum(use.bytes for use in report.sections if use.section == ".weights")
    code = (report.flash_bytes or 0) - weights
    return (
        f"{model:<10} {board:<11} {who:<20} {report.instructions / 1e6:8.3f} {code:8,} "
        f"{weights:10,} {render.number(report.arena_bytes):>9} "
        f"{render.number(report.stack_bytes):>7}  {report.max_rel_error or 0.0:.1e}"
    )


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(NAMES))
    parser.add_argument("--boards", default=",".join(BOARDS))
    arguments = parser.parse_args()
    if not MODELS.is_dir():
        sys.exit("the reference models are not beside the project")
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{_HEAD} {'weights B':>10} {'arena B':>9} {'stack B':>7}  error")
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models.split(","):
            for board in arguments.boards.split(","):
                for row in rows(model, board, Path(folder)):
                    console.print(row)


if __name__ == "__main__":
    main()
