"""How far estimates made before compiling are from what is linked, model by model.

    python benchmarks/estimate.py [MODEL ...] [--board NAME ...] [--json]

For each model (MLPerf Tiny's, by default) and board every candidate that links is built as
`tinymlaas compile` builds it, with the user's store and cache; what was built before is taken from
there. The error is (estimated − linked) ÷ linked. Ends with status 1 if one is beyond 15%, if an
estimate turned a candidate away (then nothing shows that it was right to), or if nothing was
measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tinymlaas.contract.compiler import ESTIMATE_ERROR
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.report import CandidateReport, name_of
from tinymlaas.local import LocalService, Wish, open_service

FOLDER = Path(__file__).parents[2] / "shared" / "models" / "mlperf-tiny"
NAMES = tuple(f"{name}_{kind}" for name in ("ad", "ic", "kws", "vww") for kind in ("int8", "fp32"))
BOARDS = ("nucleo-l4r5zi", "rpi-pico", "mps3-an547", "esp32-c3-devkitm-1")


def turned_away(report: CandidateReport) -> bool:
    """Return whether the estimate alone kept the candidate from being linked."""
    return report.estimated_flash_bytes is not None and report.flash_bytes is None


def errors(report: CandidateReport) -> tuple[float, float] | None:
    """Return the errors of flash and RAM as shares of what is linked; None if one is not known."""
    if report.size_level is not Level.LINKED:
        return None
    pairs = (
        (report.estimated_flash_bytes, report.flash_bytes),
        (report.estimated_ram_bytes, report.ram_bytes),
    )
    found = [(said - is_) / is_ for said, is_ in pairs if said is not None and is_]
    return (found[0], found[1]) if len(found) == len(pairs) else None


def measured(
    service: LocalService, models: list[Path], boards: list[str]
) -> Iterator[dict[str, object]]:
    """Yield one row for each candidate that was linked, or that its estimate turned away."""
    with tempfile.TemporaryDirectory() as folder:
        for board in boards:
            for model in models:
                done = service.compile(model, board, Wish(), Path(folder)).result
                for report in done.candidates:
                    found = errors(report)
                    if found is not None or turned_away(report):
                        yield {
                            "model": model.name,
                            "board": board,
                            "candidate": name_of(report),
                            "status": report.status.value,
                            "flash_bytes": report.flash_bytes,
                            "estimated_flash_bytes": report.estimated_flash_bytes,
                            "flash_error": found and found[0],
                            "ram_bytes": report.ram_bytes,
                            "estimated_ram_bytes": report.estimated_ram_bytes,
                            "ram_error": found and found[1],
                        }


def shown(row: dict[str, object]) -> str:
    """Return `row` as a line of text."""
    if row["flash_error"] is None:
        return "{board:20} {model:16} {candidate:34} turned away by its estimate".format(**row)
    return (
        "{board:20} {model:16} {candidate:34} flash {estimated_flash_bytes:9,} for "
        "{flash_bytes:9,} {flash_error:+6.1%}  RAM {estimated_ram_bytes:7,} for "
        "{ram_bytes:7,} {ram_error:+6.1%}".format(**row)
    )


def main() -> int:
    """Print the table and the largest errors; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--board", action="append", dest="boards")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    models = arguments.models or [FOLDER / f"{name}.tflite" for name in NAMES]
    if missing := [str(model) for model in models if not model.is_file()]:
        sys.exit(f"there is no model {', '.join(missing)}: name others")
    worst = {"flash_error": 0.0, "ram_error": 0.0}
    linked = away = 0
    for row in measured(open_service(), models, arguments.boards or list(BOARDS)):
        known = row["flash_error"] is not None
        linked, away = linked + known, away + (not known)
        if known:
            worst = {key: max(worst[key], abs(float(str(row[key])))) for key in worst}
        print(json.dumps(row) if arguments.json else shown(row), flush=True)
    text = f"largest error: flash {worst['flash_error']:.1%}, RAM {worst['ram_error']:.1%}"
    print(
        f"{linked} linked, {away} turned away; {text}; {ESTIMATE_ERROR:.0%} are allowed",
        file=sys.stderr,
    )
    return 1 if away or not linked or max(worst.values()) > ESTIMATE_ERROR else 0


if __name__ == "__main__":
    sys.exit(main())
