"""The picture of a race: flash over instructions, one point a candidate, written as PNG."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from tinymlaas.contract.errors import Failure, UsageError
from tinymlaas.contract.report import CandidateReport, CompileResult, name_of
from tinymlaas.delivery import check_directory

_DOTS_PER_INCH = 120


def check_plot(path: Path | None) -> None:
    """Refuse a picture that could not be written, before any long work.

    Raises:
        UsageError: what draws is not installed, or `path` is no PNG or cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() != ".png" or path.is_dir():
        raise UsageError(f"--plot {path}: name a file that ends in .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: install tinymlaas with the extra 'plot'")
    check_directory(path.parent)


def draw_plot(path: Path | None, result: CompileResult, title: str) -> None:
    """Write the picture of `result` to `path`, whole or not at all; without a `path` do nothing.

    Only candidates that were linked and run have a place in it: nothing is drawn that is not known.

    Raises:
        Failure: the file cannot be written.
    """
    if path is None:
        return
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure = _figure(result, title)
        # No date and no version in the file: the same race gives the same bytes.
        figure.savefig(part, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        os.replace(part, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}") from None
    except Exception as error:  # of what draws, whatever it is: the module is there all the same
        raise Failure(f"cannot draw {path}: {type(error).__name__}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _figure(result: CompileResult, title: str) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, parse_math=False)
    axes.set_xlabel("instructions per inference (simulated)")
    axes.set_ylabel("flash in bytes (linked)")
    axes.grid(visible=True, alpha=0.3)
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.yaxis.set_major_formatter(EngFormatter())
    known = [
        (index, report)
        for index, report in enumerate(result.candidates)
        if report.instructions is not None and report.flash_bytes is not None
    ]
    if not known:
        axes.text(0.5, 0.5, "no candidate was run", ha="center", transform=axes.transAxes)
        return figure
    for number, (index, report) in enumerate(known):
        _draw(axes, report, f"C{number}", chosen=index == result.chosen)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    # The third axis of that is not drawn: a filled mark may look worse than another.
    title = "chosen ★, filled: Pareto-optimal\n(flash, RAM and instructions)"
    figure.legend(loc="outside right upper", fontsize=8, title=title)
    return figure


def _draw(axes: Any, report: CandidateReport, colour: str, *, chosen: bool) -> None:
    axes.plot(
        report.instructions,
        report.flash_bytes,
        linestyle="none",
        marker="*" if chosen else "o",
        markersize=14 if chosen else 7,
        color=colour,
        fillstyle="full" if report.pareto else "none",
        label=name_of(report).replace("$", r"\$"),  # else it begins a formula
    )
