"""Compile the digits model for a Cortex-M4 board, as float and as int8, and compare the two there.

Both run every held-out digit in the simulator. The float module must be as accurate as the
reference; the int8 module must give the very numbers that TensorFlow Lite Micro gives on this host.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from tinymlaas import local, modules, quantising, render, stopping, words
from tinymlaas.cli_options import Output
from tinymlaas.contract.errors import Failure, TinymlaasError
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.report import CandidateReport, ResultStatus, RunReport
from workers.models.reference import open_reference
from workers.samples import accuracy
from workers.verify import tflm_host
from workers.verify.quantising import quantised

HERE = Path(__file__).parent
MODEL, DIGITS = HERE / "digits.onnx", HERE / "test_digits.npz"
CALIBRATION = HERE / "calibration_digits.npz"

Array = NDArray[Any]


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 1, 8, 8) with pixels from 0 to 16, float32, and labels (n,)."""

    images: Array
    labels: Array


@dataclass(frozen=True)
class Side:
    """One way to run the digits: the module chosen, what it did, and who is its judge on the host.

    `expected` has the judge's outputs, one array a digit.
    """

    title: str
    module: Path
    chosen: CandidateReport
    ran: RunReport
    judge: str
    expected: list[Array]
    labels: Array

    @property
    def same(self) -> int:
        """Digits for which the module's numbers are exactly the judge's."""
        pairs = zip(self.ran.outputs, self.expected, strict=True)
        return sum(list(got[0]) == want.ravel().tolist() for got, want in pairs)


def load_digits(count: int) -> Digits:
    """Return the first `count` held-out digits."""
    with np.load(DIGITS) as data:
        images, labels = data["x"][:count].astype(np.float32), data["labels"][:count]
    return Digits(images.reshape(-1, 1, 1, 8, 8), labels)


def compiled(
    model: Path, board: str, directory: Path, output: Output, console: Console
) -> tuple[Path, CandidateReport]:
    """Compile `model`, with progress and the table that `tinymlaas compile` shows.

    Raises:
        Failure: no module came of it; says why.
    """
    with output.progress() as progress:
        done = local.open_service(progress).compile(model, board, local.Wish(), directory)
    output.notices(done.notices)
    result = done.result
    render.show(console, render.compile_result(result, board))
    if result.status is not ResultStatus.DONE or result.module is None or result.chosen is None:
        raise Failure(*result.reasons)
    return Path(result.module), result.candidates[result.chosen]


def run_float(board: str, directory: Path, digits: Digits, output: Output, show: Console) -> Side:
    """Compile the model as it is and run the digits."""
    module, chosen = compiled(MODEL, board, directory, output, show)
    ran = modules.run_samples(module, DIGITS, len(digits.labels))
    reference = open_reference(MODEL.read_bytes(), ModelFormat.ONNX)
    expected = [reference.run([image])[0] for image in digits.images]
    return Side("float32", module, chosen, ran, reference.name, expected, digits.labels)


def run_int8(board: str, directory: Path, digits: Digits, output: Output, show: Console) -> Side:
    """Quantise the model with training digits, compile it and run the digits."""
    with output.progress() as progress:
        made = quantising.quantise_file(MODEL, CALIBRATION, progress=progress)
    report = quantising.write(made, directory / "digits_int8.tflite")
    for line in render.quantisation(report):
        output.line(line)
    module, chosen = compiled(Path(str(report.model)), board, directory, output, show)
    (given,) = report.inputs
    images = quantised(digits.images, given)
    samples = directory / "test_digits_int8.npz"
    np.savez_compressed(samples, x=images, labels=digits.labels)
    ran = modules.run_samples(module, samples)
    host = tflm_host.load(made.model)
    expected = [tflm_host.run(host, [image], 1)[0] for image in images]
    return Side("int8", module, chosen, ran, tflm_host.name(), expected, digits.labels)


def comparison(sides: list[Side]) -> Table:
    """Return the table that sets the ways to run the digits side by side."""
    count = len(sides[0].labels)
    table = Table(box=box.SIMPLE_HEAD, title=f"{count} held-out digits", title_justify="left")
    table.add_column("")
    for side in sides:
        table.add_column(f"{side.title} ({side.chosen.compiler})", justify="right")
    machine = f"{sides[0].ran.machine}, {sides[0].ran.level}"
    table.add_row(f"accuracy on {machine}", *(_share(s.ran.accuracy, count) for s in sides))
    table.add_row("accuracy on this host", *(_share(_host_accuracy(s), count) for s in sides))
    table.add_row("  computed by", *(side.judge for side in sides))
    table.add_row("  outputs beside it", *map(_nearness, sides))
    table.add_row("flash, linked", *(words.number(s.chosen.flash_bytes, " B") for s in sides))
    table.add_row(
        "RAM, linked; stack simulated", *(words.number(s.chosen.ram_bytes, " B") for s in sides)
    )
    table.add_row("instructions, simulated", *(words.number(s.ran.instructions) for s in sides))
    return table


def _nearness(side: Side) -> str:
    count = len(side.labels)
    if side.same:
        return f"bit-exact on {side.same} of {count}"
    pairs = zip(side.ran.outputs, side.expected, strict=True)
    off = max(float(np.abs(np.array(got[0]) - want.ravel()).max()) for got, want in pairs)
    return f"within {off:.1e}"


def _host_accuracy(side: Side) -> float | None:
    return accuracy(side.expected, side.labels)


def _share(share: float | None, count: int) -> str:
    return "–" if share is None else f"{share:.2%} ({round(share * count)} of {count})"


def verdict(plain: Side, integer: Side) -> list[str]:
    """Return what is not as it must be; nothing if all is well."""
    wrong = []
    if plain.ran.accuracy != _host_accuracy(plain):
        wrong.append(f"the float module is not as accurate as {plain.judge}")
    if integer.same != len(integer.labels):
        wrong.append(f"the int8 module differs from {integer.judge}")
    return wrong


def main() -> int:
    """Run the demo; the exit status is 0 if both modules compute what they must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="nucleo-l4r5zi")
    parser.add_argument("--digits", type=int, default=360, help="how many test digits to run")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"))
    arguments = parser.parse_args()
    console = render.console()
    output = Output(console, render.console(stderr=True), as_json=False)
    digits = load_digits(arguments.digits)
    try:
        sides = [
            run(arguments.board, arguments.output, digits, output, console)
            for run in (run_float, run_int8)
        ]
    except TinymlaasError as error:
        output.reasons("error", error.reasons)
        return error.exit_code
    render.show(console, comparison(sides))
    for side in sides:
        output.line(f"{side.title:<11} {side.module}")
    output.line(f"check it    .venv/bin/tinymlaas verify {sides[-1].module} --rerun")
    wrong = verdict(*sides)
    output.reasons("failed", wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    with stopping.heeded():
        sys.exit(main())
