"""The command `tinymlaas quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinymlaas import render
from tinymlaas.cli_options import Output, parse_shapes
from tinymlaas.contract.quantisation import Activations

CalibrationOption = Annotated[
    Path,
    typer.Option(
        "--calibration",
        metavar="FILE.npz",
        readable=False,
        help="Samples: arrays by input name, or x; with labels, accuracy is reported.",
    ),
]


def quantize(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", readable=False, help="A float ONNX, TFLite or .keras file."
        ),
    ],
    calibration: CalibrationOption,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.tflite", help="Where it goes.")
    ] = None,
    activations: Annotated[
        Activations, typer.Option(help="Element type of activations, inputs and outputs.")
    ] = Activations.INT8,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", metavar="NAME=D,D,…", help="Fix an input's shape; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Quantise a float model to an integer TFLite model with samples of your own."""
    from tinymlaas import quantising

    shown = Output(render.console(), render.console(stderr=True), as_json)
    target = output or quantising.default_output(model, activations)
    quantising.check_output(target)
    shapes = parse_shapes(shape or ())
    with shown.progress() as progress:
        done = quantising.quantise_file(model, calibration, activations, shapes, progress)
    report = quantising.write(done, target)
    shown.notices(report.warnings)
    if as_json:
        shown.json(report)
        return
    for line in render.quantisation(report):
        shown.line(line)
