"""The commands ``verify``, ``bundle`` and ``harness``: what is proven of a module, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tinymlaas import render, render_layers
from tinymlaas.cli_arguments import (
    BuilderOption,
    JsonOption,
    KeyOption,
    KeyringOption,
    ModulePath,
    RequireSandboxOption,
    RootOption,
    ThresholdOption,
)
from tinymlaas.cli_options import Output, parse_seconds
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.manifest import Verification
from tinymlaas.contract.report import VerifyReport

if TYPE_CHECKING:
    from tinymlaas.modules import Checked


def verify(
    module: ModulePath,
    key: KeyOption = None,
    rerun: Annotated[bool, typer.Option(help="Run the golden inputs again.")] = False,
    serial: Annotated[
        str | None,
        typer.Option(metavar="TTY[:BAUD]", help="Run them on the board there, or at tcp://…"),
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="What a board wrote by semihosting."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare layer by layer with the reference.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(readable=False, help="For --layers, where the store has it no more."),
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="10s", help="How long a board may be silent.")
    ] = "10s",
    keyring: KeyringOption = None,
    root: RootOption = None,
    builder: BuilderOption = None,
    threshold: ThresholdOption = None,
    require_sandbox: RequireSandboxOption = False,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="A Sigstore bundle of the module."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a module's signature and content, and with --rerun or on a board its numbers."""
    from tinymlaas import modules

    if sum((rerun, layers, serial is not None, outputs is not None)) > 1:
        raise UsageError("give one of --rerun, --layers, --serial and --outputs")
    console = render.console()
    output = Output(console, render.console(stderr=True), as_json)
    patience = parse_seconds("--timeout", timeout) or 0.0
    demands = modules.Demands(
        key, keyring, root, tuple(builder or ()), threshold, require_sandbox, bundle
    )
    checked = modules.verify(module, demands=demands)
    if layers:
        _layers(checked, model, module.name, output, console)
        return
    how = "as its manifest says (--rerun repeats it):"
    found: Verification | None
    if rerun:
        how, found = "run again now:", modules.rerun(checked)
    elif serial is not None:
        how, found = "run on the board now:", modules.replay_on_board(checked, serial, patience)
    elif outputs is not None:
        how, found = "as the board has answered:", modules.judge_outputs(checked, outputs)
    else:
        found = checked.archive.manifest.verification
    if as_json:
        output.json(_report(checked, found, rerun=rerun))
        return
    _said(checked, module.name, output)
    if found is None:
        output.line("it was built, not run: there are no numbers")
    else:
        output.line(how)
        render.show(console, render.verification(found))
        if found.layers is not None:
            output.line(f"first differs at {render_layers.first_difference(found.layers)}")


def _layers(
    checked: Checked, model: Path | None, name: str, output: Output, console: Console
) -> None:
    from tinymlaas import layering

    with output.progress() as progress:
        found = layering.layers(checked, model, progress)
    if output.as_json:
        report = _report(checked, checked.archive.manifest.verification, rerun=False)
        output.json(report.model_copy(update={"layers": found.rows}))
        return
    _said(checked, name, output)
    render.show(console, render_layers.layer_table(found.rows, found.layers))


def _report(checked: Checked, found: Verification | None, *, rerun: bool) -> VerifyReport:
    return VerifyReport(
        signer=checked.signer,
        signers=tuple(key.fingerprint for key, _ in checked.signed),
        builder=checked.builder,
        remarks=checked.remarks,
        rerun=rerun,
        verification=found,
    )


def _said(checked: Checked, name: str, output: Output) -> None:
    output.notices(checked.remarks)
    signers = [key.fingerprint for key, _ in checked.signed]
    by = f"key {signers[0]}" if len(signers) == 1 else f"{len(signers)} keys"
    output.line(f"ok: {name} is signed by {by} and unchanged")
    for signer in signers[1:] and signers:
        output.line(f"    {signer}")


def bundle(
    module: ModulePath,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: MODULE.sigstore.json."),
    ] = None,
    key: KeyOption = None,
    keyring: KeyringOption = None,
    root: RootOption = None,
    builder: BuilderOption = None,
    threshold: ThresholdOption = None,
    require_sandbox: RequireSandboxOption = False,
) -> None:
    """Verify a module and write its signature as a Sigstore bundle, for cosign."""
    from tinymlaas import modules

    lines = Output(render.console(), render.console(stderr=True), False)
    demands = modules.Demands(key, keyring, root, tuple(builder or ()), threshold, require_sandbox)
    checked = modules.verify(module, demands=demands)
    lines.notices(checked.remarks)
    for path in modules.write_bundles(checked, module, output):
        lines.line(f"{path}")


def harness(
    module: ModulePath,
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="A new folder for the files.")
    ],
    port: Annotated[
        str, typer.Option(metavar="uart|semihosting", help="How the board talks to this computer.")
    ] = "uart",
    key: KeyOption = None,
) -> None:
    """Write sources that run a module's golden inputs in a firmware of your own."""
    from tinymlaas import modules

    output = Output(render.console(), render.console(stderr=True), False)
    checked = modules.verify(module, key)
    for path in modules.export_harness(checked, module.name, port, folder):
        output.line(f"{folder / path}")
    output.line(f"{folder / 'README.md'} says how to go on")
