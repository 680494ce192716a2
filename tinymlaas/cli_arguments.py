"""Arguments and options that several commands have, so that they are the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# `readable=False`: whether a file can be read we say ourselves, in one line and as JSON.
ModelPath = Annotated[
    Path, typer.Argument(metavar="MODEL", readable=False, help="An ONNX or TFLite file.")
]
ModulePath = Annotated[
    Path, typer.Argument(metavar="MODULE", readable=False, help="A module archive.")
]
BoardOption = Annotated[str, typer.Option(help="A board's name, or a profile ending in .toml.")]
CompilerOption = Annotated[str, typer.Option(help="auto, NAME or NAME/KERNELS.")]
ObjectiveOption = Annotated[
    str, typer.Option(help="What to make small: latency, flash, ram, or latency=2,ram=1.")
]
MaxFlashOption = Annotated[str | None, typer.Option(metavar="BYTES", help="As 512k or 1M.")]
MaxRamOption = Annotated[str | None, typer.Option(metavar="BYTES", help="As 64k.")]
MaxInstructionsOption = Annotated[int | None, typer.Option(min=0, help="Per inference, at most.")]
MaxErrorOption = Annotated[
    float | None, typer.Option(min=0, help="From the model given, of the output's range.")
]
MinAccuracyOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Share of --data that must be right.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", readable=False, help="Labelled samples to judge by."),
]
BudgetOption = Annotated[
    str | None, typer.Option(metavar="30s", help="Stop trying candidates after that long.")
]
FirstOption = Annotated[bool, typer.Option("--first", help="Take the first verified candidate.")]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=D,D,…", help="Fix an input's shape; repeatable."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Set a compiler's option; repeatable."),
]
Int8Option = Annotated[bool, typer.Option("--int8", help="Only quantised to int8.")]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", readable=False, help="Samples to quantise with."),
]
OutputOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Where the module goes.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="PUB", readable=False, help="The signer's public key (PEM)."),
]
KeyringOption = Annotated[
    Path | None,
    typer.Option("--keyring", metavar="FILE", readable=False, help="Whom to trust, with rules."),
]
RootOption = Annotated[
    str | None, typer.Option("--root", metavar="SHA256", help="The keyring's root must be this.")
]
BuilderOption = Annotated[
    list[str] | None,
    typer.Option("--builder", metavar="NAME", help="Whom --key may speak for; default local."),
]
ThresholdOption = Annotated[
    int | None,
    typer.Option("--threshold", min=1, max=16, metavar="N", help="Distinct keys needed."),
]
RequireSandboxOption = Annotated[
    bool, typer.Option("--require-sandbox", help="Refuse what was built outside the sandbox.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
