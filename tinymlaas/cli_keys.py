"""The commands `tinymlaas keys …`: signing keys, and the keyring that others verify with."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from tinymlaas import render, render_keys
from tinymlaas.cli_arguments import JsonOption
from tinymlaas.cli_options import Output
from tinymlaas.contract.key_report import KeysReport
from tinymlaas.inputs import parse_duration

app = typer.Typer(help="Signing keys, and the keyring to verify with.", no_args_is_help=True)

_Builder = Annotated[
    str, typer.Option("--builder", metavar="NAME", help="A pool's name; local is this user.")
]
_Valid = Annotated[
    str | None, typer.Option("--valid", metavar="365d", help="How long; without it no end.")
]


@app.callback()
def keys() -> None:
    """Make, rotate, revoke and list the keys that sign modules."""


@app.command("show")
def show() -> None:
    """Print the public key that others need to verify your modules."""
    from tinymlaas.keys import notice, own_key
    from tinymlaas.settings import from_environment

    key = own_key(from_environment())
    Output(render.console(), render.console(stderr=True), False).notices(notice(key))
    sys.stdout.write(key.signer.public_key.pem.decode())


@app.command("new")
def new(builder: _Builder = "local", valid: _Valid = None, as_json: JsonOption = False) -> None:
    """Make a key for a builder and name it in the keyring."""
    from tinymlaas import keyrings, listing, trust

    lasting = _duration(valid)
    folder, now = listing.place()
    changed = keyrings.new(folder, trust.builder_id(builder), lasting, now)
    _report(listing.report(folder, now, changed.done), as_json)


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.pub", readable=False, help="A public key (PEM).")
    ],
    builder: _Builder = "local",
    valid: _Valid = None,
    as_json: JsonOption = False,
) -> None:
    """Name a key that was made elsewhere, for one builder more."""
    from tinymlaas import keyrings, listing, trust

    lasting = _duration(valid)
    (given,) = trust.key_trust(file).trusted
    folder, now = listing.place()
    changed = keyrings.add(folder, given.key, trust.builder_id(builder), lasting, now)
    _report(listing.report(folder, now, changed.done), as_json)


@app.command("rotate")
def rotate(
    builder: _Builder = "local",
    overlap: Annotated[
        str,
        typer.Option(metavar="30d", help="How long what the old key signed is still accepted."),
    ] = "30d",
    valid: _Valid = None,
    as_json: JsonOption = False,
) -> None:
    """Put a new key in the place of a builder's."""
    from tinymlaas import keyrings, listing, trust

    lasting = _duration(valid)
    lap = parse_duration(overlap, "--overlap")
    folder, now = listing.place()
    changed = keyrings.rotate(folder, trust.builder_id(builder), lap, lasting, now)
    _report(listing.report(folder, now, changed.done), as_json)


@app.command("revoke")
def revoke(
    fingerprint: Annotated[str, typer.Argument(help="As 'keys list' shows it; 8 digits or more.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in one line.")],
    as_json: JsonOption = False,
) -> None:
    """Refuse from now on whatever a key has ever signed."""
    from tinymlaas import keyrings, listing

    folder, now = listing.place()
    changed = keyrings.revoke(folder, fingerprint, reason, now)
    _report(listing.report(folder, now, changed.done), as_json)


@app.command("threshold")
def threshold(
    count: Annotated[int, typer.Argument(min=1, max=16, metavar="N")], as_json: JsonOption = False
) -> None:
    """Ask for signatures by N distinct keys on every module."""
    from tinymlaas import keyrings, listing

    folder, now = listing.place()
    changed = keyrings.set_threshold(folder, count, now)
    _report(listing.report(folder, now, changed.done), as_json)


@app.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """Show every key, for whom it may sign, and how it stands."""
    from tinymlaas import listing

    folder, now = listing.place()
    _report(listing.report(folder, now), as_json)


def _duration(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text, "--valid")


def _report(report: KeysReport, as_json: bool) -> None:
    console = render.console()
    output = Output(console, render.console(stderr=True), as_json)
    if as_json:
        output.json(report)
        return
    for line in report.done:
        output.line(line)
    if not report.keys:
        output.line("there are no keys yet: 'tinymlaas keys new' makes one")
        return
    render.show(console, render_keys.keys(report))
    output.line(render_keys.keyring(report))
