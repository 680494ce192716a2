"""The command ``fit``: which boards can run a model, the cheapest first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinymlaas import render
from tinymlaas.cli_arguments import CompilerOption, JsonOption, ModelPath, SetOption, ShapeOption
from tinymlaas.cli_errors import explain
from tinymlaas.cli_options import Output, parse_options, parse_shapes
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.fit import BoardFit, FitReport, Verdict
from tinymlaas.contract.report import CompileResult
from tinymlaas.contract.tensors import DType
from tinymlaas.render_fit import board_fits

if TYPE_CHECKING:
    from tinymlaas.contract.device import DeviceProfile
    from tinymlaas.contract.progress import Progress
    from tinymlaas.local import LocalService, Wish


def fit(
    model: ModelPath,
    compiler: CompilerOption = "auto",
    shape: ShapeOption = None,
    option: SetOption = None,
    verify: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Compile for and run on the N cheapest that can be linked."
        ),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """List the boards that can run a model, by estimate; the smallest, hence cheapest, first."""
    from scheduler.fitting import cheapest_first
    from tinymlaas import local

    output = Output(render.console(), render.console(stderr=True), as_json)
    wish = local.Wish(
        compiler, shapes=parse_shapes(shape or ()), options=parse_options(option or ())
    )
    with output.progress() as progress:
        service = local.open_service(progress)
        progress.stage("estimates", "asking the compilers for each core")
        boards = cheapest_first(estimated(service, model, wish))
        progress.end("estimates", f"of {len(boards)} boards")
        boards = cheapest_first(tried(model, wish, boards, verify, progress))
        dtype = service.inspect(model, wish.shapes).summary.dtype
    quantisable = dtype is DType.FLOAT32
    report = FitReport(model=model.name, boards=tuple(boards))
    if as_json:
        output.json(report)
    else:
        render.show(render.console(), *board_fits(report, quantisable=quantisable))


def estimated(service: LocalService, model: Path, wish: Wish) -> list[BoardFit]:
    """Return the verdict for each board shipped; boards with the same core are asked once."""
    from scheduler.fitting import Estimated
    from scheduler.fitting import fit as judged
    from tinymlaas.boards import catalog

    known: dict[str, list[Estimated]] = {}
    found = []
    for profile in catalog.all_boards():
        if not profile.memory:  # a host is no board to choose
            continue
        core = _core(profile)
        if core not in known:
            known[core] = service.estimates(model, profile.capability_class(), wish)
        found.append(judged(profile, known[core]))
    return found


def tried(
    model: Path, wish: Wish, boards: list[BoardFit], count: int, progress: Progress
) -> list[BoardFit]:
    """Return `boards`, the model compiled for and run on the first `count` that may take it.

    Those for which nothing can be linked here are none of the `count`.
    """
    from scheduler.fitting import verified
    from tinymlaas import local
    from tinymlaas.contract.progress import OnBoard
    from workers.toolchains.toolchain import cannot_link

    done = []
    for board in boards:
        if count == 0 or board.verdict is Verdict.NO:
            done.append(board)
            continue
        unlinkable = cannot_link(board.core)
        if unlinkable:
            reasons = (*board.reasons, unlinkable)
            done.append(board.model_copy(update={"reasons": reasons}))
            continue
        count -= 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                service = local.open_service(OnBoard(progress, board.board))
                result = service.compile(model, board.board, wish, Path(folder)).result
            except TinymlaasError as error:  # what is known of the other boards is not lost by it
                said = explain(error).report
                result = CompileResult(status=said.status, reasons=said.reasons)
        done.append(verified(board, result))
    return done


def _core(profile: DeviceProfile) -> str:
    """Return what compilers see of a board but for its memory."""
    return profile.capability_class().model_copy(update={"memory": ()}).model_dump_json()
