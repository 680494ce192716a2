"""The command line: reads arguments, asks a composition root, shows what comes back."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from tinymlaas import __version__, cli_farm, cli_jobs, cli_keys, cli_store, render, render_catalog
from tinymlaas.cli_arguments import (
    BoardOption,
    CalibrationOption,
    CompilerOption,
    Int8Option,
    JsonOption,
    KeyOption,
    MaxErrorOption,
    MaxFlashOption,
    MaxInstructionsOption,
    MaxRamOption,
    ModelPath,
    ModulePath,
    ObjectiveOption,
    OutputOption,
    SetOption,
    ShapeOption,
)
from tinymlaas.cli_errors import explain
from tinymlaas.cli_fit import fit
from tinymlaas.cli_options import (
    Output,
    parse_options,
    parse_race,
    parse_seconds,
    parse_shapes,
)
from tinymlaas.cli_plot import check_plot, draw_plot
from tinymlaas.cli_quantize import quantize
from tinymlaas.cli_rebuild import rebuild
from tinymlaas.cli_verify import bundle, harness, verify
from tinymlaas.contract.errors import Failure, InvalidBoard
from tinymlaas.contract.report import CompileResult, ResultStatus
from tinymlaas.sandboxing import UNSAFE_FLAG, UNSAFE_NOTICE, UNSAFE_VARIABLE

# Commands that have something done in the sandbox; a farm's workers say it in their own logs.
_WITH_JOBS = {"compile", "compilers", "fit", "inspect", "quantize", "rebuild", "run", "verify"}


class _Group(TyperGroup):
    """Takes the one option that is every command's wherever it stands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move it to where options of all commands are looked for."""
        given = [UNSAFE_FLAG] if UNSAFE_FLAG in args else []
        return super().parse_args(ctx, [*given, *(arg for arg in args if arg != UNSAFE_FLAG)])


app = typer.Typer(
    cls=_Group,
    help="TinyML as a Service: from a trained model to a verified, signed inference module.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
boards_app = typer.Typer(help="Boards: list them, show one, check a profile of your own.")
app.command()(quantize)
app.command()(fit)
app.command()(rebuild)
app.command()(verify)
app.command()(bundle)
app.command()(harness)
cli_jobs.add_to(app)
app.add_typer(cli_farm.app, name="farm")
app.add_typer(cli_store.app, name="store")
app.add_typer(boards_app, name="boards")
app.add_typer(cli_keys.app, name="keys")

out = render.console()
err = render.console(stderr=True)


@app.command("compile")
def compile_command(
    model: ModelPath,
    board: BoardOption,
    compiler: CompilerOption = "auto",
    objective: ObjectiveOption = "latency",
    shape: ShapeOption = None,
    option: SetOption = None,
    int8: Int8Option = False,
    calibration: CalibrationOption = None,
    max_flash: MaxFlashOption = None,
    max_ram: MaxRamOption = None,
    max_instructions: MaxInstructionsOption = None,
    max_error: MaxErrorOption = None,
    min_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of --data that must be right.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", readable=False, help="Labelled samples to judge by."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="30s", help="Stop trying candidates after that long.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Take the first verified candidate.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", readable=False, help="Flash over instructions."),
    ] = None,
    directory: OutputOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Compile a model into a verified, signed inference module for a board."""
    output = Output(out, err, as_json)
    try:
        from tinymlaas import local, quantising

        heaviest, race = parse_race(
            objective, max_flash, max_ram, max_instructions, max_error, min_accuracy
        )
        shapes = parse_shapes(shape or ())
        wish = local.Wish(
            compiler,
            heaviest,
            shapes,
            parse_options(option or ()),
            race,
            data,
            parse_seconds("--budget", budget),
            first,
        )
        check_plot(plot)
        with (
            output.progress() as progress,
            quantising.forms_of(model, int8, calibration, wish.shapes, progress) as found,
        ):
            done = local.open_service(progress).compile_forms(found.forms, board, wish, directory)
    except Exception as error:
        if _debugging():
            raise
        report = explain(error).report
        _finish(output, CompileResult(status=report.status, reasons=report.reasons), board)
    else:
        output.notices((*found.notices, *done.notices))
        title = f"{model.name} on {board}"
        _finish(output, done.result, board, lambda: draw_plot(plot, done.result, title))


def _finish(
    output: Output, result: CompileResult, board: str, draw: Callable[[], None] | None = None
) -> None:
    """Show `result`, then `draw` it; leave with its exit status: 0 done, 2 rejected, 1 failed."""
    if output.as_json:
        output.json(result)
    else:
        for line in render.quantisation(result.quantisation) if result.quantisation else ():
            output.line(line)
        render.show(out, render.compile_result(result, board))
        if result.module:
            output.line(f"module      {result.module}")
            output.line(f"provenance  {result.module}.intoto.jsonl")
            output.line(f"action      {result.action_digest}")
    exit_status = {ResultStatus.DONE: 0, ResultStatus.REJECTED: 2}.get(result.status, 1)
    if exit_status:
        output.reasons(result.status.value, result.reasons)
    try:
        if draw is not None:
            draw()
    except Failure as error:
        output.reasons("error", error.reasons)
        exit_status = exit_status or 1
    if exit_status:
        raise typer.Exit(exit_status)


@app.command()
def inspect(model: ModelPath, shape: ShapeOption = None, as_json: JsonOption = False) -> None:
    """Show a model's operators, tensors, work and size before compiling it."""
    from tinymlaas import local

    output = Output(out, err, as_json)
    found = local.open_service().inspect(model, parse_shapes(shape or ())).summary
    if as_json:
        output.json(found)
    else:
        render.show(out, render.summary(model.name, found))


@app.command()
def run(
    module: ModulePath,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", readable=False, help="An .npz with inputs by name, or x, and labels."
        ),
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a module in its simulator on samples of your own; with labels, report accuracy."""
    from tinymlaas import modules

    output = Output(out, err, as_json)
    report = modules.run_samples(module, data, limit, key)
    if as_json:
        output.json(report)
    else:
        render.show(out, render.run_report(report))


@app.command()
def compilers(as_json: JsonOption = False) -> None:
    """List the compilers there are and what each can do."""
    from tinymlaas import local

    output = Output(out, err, as_json)
    found = local.open_service().compilers()
    if as_json:
        output.json(found)
    else:
        rows = [(c.description, c.origin) for c in found.compilers]
        render.show(out, render_catalog.compilers(rows, found.unavailable))


@boards_app.callback(invoke_without_command=True)
def boards(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the boards known."""
    if context.invoked_subcommand is None:
        from tinymlaas.boards import catalog

        profiles = catalog.all_boards()
        if as_json:
            Output(out, err, True).json(catalog.BoardList(boards=tuple(profiles)))
        else:
            render.show(out, render_catalog.boards(profiles))


@boards_app.command("show")
def boards_show(
    name: Annotated[str, typer.Argument(metavar="NAME")], as_json: JsonOption = False
) -> None:
    """Show one board in full."""
    from tinymlaas.boards import catalog

    profile = catalog.get(name)
    if as_json:
        Output(out, err, True).json(profile)
    else:
        render.show(out, render_catalog.board(profile))


@boards_app.command("check")
def boards_check(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", readable=False)],
) -> None:
    """Say every mistake of a board profile at once, each with its line."""
    from tinymlaas.boards import check

    found = check.check_file(file)
    for mistake in found:
        err.print(f"{file}:{mistake}", soft_wrap=True)
    count = sum(not mistake.warning for mistake in found)
    if count:
        raise InvalidBoard(f"{file}: {count} mistake{'s' if count > 1 else ''} found")
    out.print(f"ok: {file}", soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"tinymlaas {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    unsafe_no_sandbox: Annotated[
        bool, typer.Option(UNSAFE_FLAG, help="Run parsers and compilers with all your rights.")
    ] = False,
) -> None:
    """TinyML as a Service: from a trained model to a verified, signed inference module."""
    if unsafe_no_sandbox:
        os.environ[UNSAFE_VARIABLE] = "1"
    unsafe = os.environ.get(UNSAFE_VARIABLE, "0") not in {"", "0"}
    if unsafe and context.invoked_subcommand in _WITH_JOBS:
        Output(out, err, as_json=False).notices((UNSAFE_NOTICE,))


def main() -> NoReturn:
    """Run the command line: errors become one line each on stderr and the documented status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else it is closed
            stream.reconfigure(errors="replace")  # what its encoding has no character for
    as_json = "--json" in sys.argv
    try:
        # Typer shows wrong usage itself, in a box for people, unless told to leave that to us.
        sys.exit(app(standalone_mode=not as_json))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if _debugging():
            raise
        explanation = explain(error)
        output = Output(out, err, as_json)
        if as_json:
            output.json(explanation.report)
        output.reasons(explanation.kind, explanation.report.reasons)
        sys.exit(explanation.exit_status)


def _debugging() -> bool:
    return bool(os.environ.get("TINYMLAAS_DEBUG"))
