"""Compile the digits model for a Cortex-M4 board, run test digits there, show what came out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from tinymlaas import local, modules, render
from tinymlaas.cli_options import Output
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.report import CompileResult, ResultStatus, RunReport
from workers.models.reference import open_reference

HERE = Path(__file__).parent
MODEL, DIGITS = HERE / "digits.onnx", HERE / "test_digits.npz"


def reference_accuracy(count: int) -> tuple[str, float]:
    """Return the reference's name and its accuracy on the first `count` test digits."""
    reference = open_reference(MODEL.read_bytes(), ModelFormat.ONNX)
    with np.load(DIGITS) as data:
        images, labels = data["x"][:count].astype(np.float32), data["labels"][:count]
    right = sum(
        int(np.argmax(reference.run([image.reshape(1, 1, 8, 8)])[0])) == int(label)
        for image, label in zip(images, labels, strict=True)
    )
    return reference.name, right / len(labels)


def compiled(board: str, directory: Path, output: Output) -> CompileResult:
    """Compile the model, with progress and the table that `tinymlaas compile` shows."""
    with output.progress() as progress:
        done = local.open_service(progress).compile(MODEL, board, local.Wish(), directory)
    output.notices(done.notices)
    return done.result


def show_accuracy(console: Console, report: RunReport) -> None:
    """Print the accuracy in the simulator beside the reference's."""
    name, expected = reference_accuracy(report.samples)
    found = report.accuracy or 0.0
    console.print(f"accuracy on {report.samples} held-out digits", style="bold", highlight=False)
    for where, share in ((f"{report.machine}, simulated", found), (name, expected)):
        right = round(share * report.samples)
        console.print(f"  {where:<28} {share:7.2%}  ({right} of {report.samples})", highlight=False)


def main() -> int:
    """Run the demo; the exit status is 0 if the simulator is as accurate as the reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="nucleo-l4r5zi")
    parser.add_argument("--digits", type=int, default=200, help="how many test digits to run")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"))
    arguments = parser.parse_args()
    console = Console()
    output = Output(console, Console(stderr=True), as_json=False)
    try:
        result = compiled(arguments.board, arguments.output, output)
        render.show(console, render.compile_result(result, arguments.board))
        if result.status is not ResultStatus.DONE or result.module is None:
            output.reasons(result.status.value, result.reasons)
            return 1
        report = modules.run_samples(Path(result.module), DIGITS, arguments.digits)
    except TinymlaasError as error:
        output.reasons("error", error.reasons)
        return error.exit_code
    show_accuracy(console, report)
    output.line(f"module      {result.module}")
    output.line(f"check it    .venv/bin/tinymlaas verify {result.module} --rerun")
    return 0 if report.accuracy == reference_accuracy(report.samples)[1] else 1


if __name__ == "__main__":
    sys.exit(main())
