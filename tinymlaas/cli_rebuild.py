"""The command ``rebuild``: the same module again, or what has changed since."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinymlaas import render
from tinymlaas.cli_arguments import JsonOption, KeyOption, ModulePath
from tinymlaas.cli_options import Output


def rebuild(
    module: ModulePath,
    model: Annotated[
        Path | None,
        typer.Option(readable=False, help="The model, where the store has it no more."),
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a module again from its provenance; say that it is identical or what differs."""
    from tinymlaas import modules, rebuilding

    output = Output(render.console(), render.console(stderr=True), as_json)
    checked = modules.verify(module, key)
    with output.progress() as progress:
        report = rebuilding.rebuild(checked.archive, checked.asked, model, progress)
    if as_json:
        output.json(report)
    elif report.identical:
        output.line(f"identical: {module.name} comes out again byte for byte")
    else:
        output.line(f"differs: {module.name} comes out otherwise")
        for each in report.differences:
            output.line(f"  {each.what}: was {each.before}, is {each.now}")
    if not report.identical:
        raise typer.Exit(1)
