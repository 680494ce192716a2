"""The table of boards that can run a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tinymlaas.contract.fit import BoardFit, FitReport, Verdict
from tinymlaas.words import millions, number

_STYLES = {Verdict.FITS: "green", Verdict.TIGHT: "yellow"}
_ABLE = (Verdict.FITS, Verdict.TIGHT)
_LISTED_REASONS = 8


def board_fits(report: FitReport, *, quantisable: bool = False) -> Iterator[RenderableType]:
    """Yield the table of boards that may run the model, and why the others cannot.

    A `quantisable` model is float and may fit more boards as int8.
    """
    able = [board for board in report.boards if board.verdict in _ABLE]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0))
    for heading in ("board", "verdict", "compiler", "known"):
        table.add_column(heading, no_wrap=heading != "compiler", overflow="fold")
    ran = any(board.instructions is not None for board in able)
    for heading in ("flash B", "used", "RAM B", "used", *(("instr.",) * ran)):
        table.add_column(heading, justify="right", no_wrap=True)
    for board in able:
        table.add_row(*_cells(board), *((millions(board.instructions),) * ran))
    yield table if able else Text(f"no board known is likely to run {report.model}")
    unable = [board for board in report.boards if board.verdict not in _ABLE]
    for board in (*(board for board in able if board.reasons), *unable):
        reasons = "; ".join(board.reasons[:_LISTED_REASONS])
        yield Text(f"{board.board}: {board.verdict}: {reasons}")
    counts = Counter(board.verdict for board in report.boards)
    if counts[Verdict.TIGHT]:
        yield Text(
            "tight: only the link can tell; --verify N compiles for the first N boards to be sure"
        )
    if unable and quantisable:
        yield Text(
            "this is of the float model; as int8 it may fit more boards: make that with "
            "'tinymlaas quantize' and ask of it"
        )


def _cells(board: BoardFit) -> tuple[RenderableType, ...]:
    return (
        board.board,
        Text(board.verdict.value, style=_STYLES[board.verdict]),
        board.compiler or "–",
        "–" if board.level is None else str(board.level),
        number(board.flash_bytes),
        _share(board.flash_bytes, board.flash_capacity),
        number(board.ram_bytes),
        _share(board.ram_bytes, board.ram_capacity),
    )


def _share(used: int | None, capacity: int) -> str:
    """Return how much of a memory is used, to the last percent upwards."""
    return "–" if used is None or not capacity else f"{-(-100 * used // capacity)}%"
