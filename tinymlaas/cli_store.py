"""The commands `tinymlaas store …`."""

from __future__ import annotations

from typing import Annotated

import typer

from tinymlaas import render, render_jobs
from tinymlaas.cli_arguments import JsonOption
from tinymlaas.cli_options import Output
from tinymlaas.inputs import parse_duration

app = typer.Typer(help="The store of finished work.", no_args_is_help=True)


@app.callback()
def store() -> None:
    """Keep the store of finished work in order."""


@app.command("gc")
def gc(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="30d", help="s, m, h, d or w; 1h at least.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="The own folder, though a farm's bucket is named.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old objects of the farm's bucket or the own folder that nothing kept needs."""
    from tinymlaas import upkeep

    output = Output(render.console(), render.console(stderr=True), as_json)
    age = parse_duration(older_than, "--older-than")
    report = upkeep.collect(age, dry_run=dry_run, local=local)
    if as_json:
        output.json(report)
        return
    for line in render_jobs.swept(report):
        output.line(line)
