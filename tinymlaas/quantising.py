"""Composition of `tinymlaas quantize`: files and the local store around the quantise stage."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage import keys
from storage.directory import DirectoryStore
from tinymlaas.contract.errors import Failure, UsageError
from tinymlaas.contract.quantisation import Activations, QuantisationReport
from tinymlaas.settings import from_environment
from workers.quantise.stage import Request, quantise_stored

SUFFIX = {Activations.INT8: "int8", Activations.INT16X8: "int16x8"}


@dataclass(frozen=True)
class Quantised:
    """The integer TFLite model's bytes, and its report."""

    model: bytes
    report: QuantisationReport


def quantise_file(
    model: Path,
    calibration: Path,
    activations: Activations = Activations.INT8,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Quantised:
    """Quantise the float model in file `model`, or take the result from the store.

    Raises:
        UsageError: a file is not there, or calibration and model do not go together.
        Rejection: the model is not accepted or has no integer form.
        Failure: a step of ours broke.
    """
    store = DirectoryStore(from_environment().store)
    request = Request(
        _read(model), model.name, _read(calibration), calibration.name, activations, shapes
    )
    outcome = quantise_stored(request, store)
    return Quantised(store.get(keys.blob(outcome.model_digest)), outcome.report)


@contextlib.contextmanager
def as_int8(
    model: Path, wanted: bool, calibration: Path | None, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[Path]:
    """Yield `model`, or if int8 is `wanted` a quantised copy of the same name.

    Raises:
        UsageError: one of int8 and calibration is given without the other.
        TinymlaasError: see `quantise_file`.
    """
    if wanted is not (calibration is not None):
        raise UsageError("--int8 and --calibration FILE.npz go together")
    if calibration is None:
        yield model
        return
    done = quantise_file(model, calibration, shapes=shapes)
    with tempfile.TemporaryDirectory(prefix="tinymlaas-int8-") as folder:
        copy = Path(folder, f"{model.stem}.tflite")
        copy.write_bytes(done.model)
        yield copy


def write(quantised: Quantised, path: Path) -> QuantisationReport:
    """Write the model to `path`; return the report, which then names the file.

    Raises:
        Failure: the file cannot be written.
    """
    try:
        path.write_bytes(quantised.model)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}") from None
    return quantised.report.model_copy(update={"model": str(path)})


def default_output(model: Path, activations: Activations) -> Path:
    """Return where the result goes if nothing else is said: the working folder."""
    return Path(f"{model.stem}_{SUFFIX[activations]}.tflite")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
