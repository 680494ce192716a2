"""The command `tinymlaas quantize`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tinymlaas import render
from tinymlaas.cli_options import Output, parse_shapes
from tinymlaas.contract.quantisation import Activations, QuantisationReport

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
    for line in lines(report):
        shown.line(line)


def lines(report: QuantisationReport) -> Iterator[str]:
    """Yield the report as lines of text."""
    yield f"model       {report.model}"
    yield f"size        {report.quantised_bytes:,} B (float: {report.float_bytes:,} B)"
    samples = f"{report.samples} calibration sample{'s' * (report.samples != 1)}"
    if report.float_accuracy is not None and report.quantised_accuracy is not None:
        yield (
            f"accuracy    {report.quantised_accuracy:.2%} (float: {report.float_accuracy:.2%}) "
            f"on the {samples}"
        )
    for error in report.errors:
        sqnr = "exact" if error.sqnr_db is None else f"SQNR {error.sqnr_db:.1f} dB"
        yield (
            f"error       {error.name}: max {error.max_error:.2%}, mean {error.mean_error:.2%}, "
            f"RMS {error.rms_error:.2%} of the float output's range, {sqnr}; on the {samples}"
        )
    yield f"made by     {report.converter}"
    yield f"compared    {report.quantised_reference} with {report.float_reference}"
