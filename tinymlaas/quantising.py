"""Composition of `tinymlaas quantize`: files and the local store around the quantise stage."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scheduler.forms import lacking
from storage import keys
from storage.directory import DirectoryStore
from tinymlaas.contract.errors import Failure, StoreError, UnsupportedModel, UsageError
from tinymlaas.contract.progress import Progress, Silent
from tinymlaas.contract.quantisation import Activations, QuantisationReport
from tinymlaas.delivery import check_directory
from tinymlaas.inputs import Form, read_input
from tinymlaas.sandboxing import contain
from tinymlaas.settings import from_environment
from workers import guardian
from workers.models.limits import DEFAULT_LIMITS

_SILENT = Silent()
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
    progress: Progress = _SILENT,
) -> Quantised:
    """Quantise the float model in file `model`, or take the result from the store.

    Raises:
        UsageError: a file is not there, or calibration and model do not go together.
        Rejection: the model is not accepted or has no integer form.
        Failure: a step of ours broke.
    """
    # What quantises is loaded only for that: every compile passes through this module.
    from workers.quantise.stage import Request, quantise_stored
    from workers.samples import MAX_SAMPLES_BYTES

    contain()
    store = DirectoryStore(from_environment().store)
    request = Request(
        read_input(model, "model", DEFAULT_LIMITS.file_bytes),
        model.name,
        read_input(calibration, "calibration file", MAX_SAMPLES_BYTES),
        calibration.name,
        activations,
        shapes,
    )
    outcome = quantise_stored(request, store, progress=progress)
    return Quantised(store.get(keys.blob(outcome.model_digest)), outcome.report)


@dataclass(frozen=True)
class Forms:
    """The forms of a model that candidates are made of, and remarks for the person."""

    forms: tuple[Form, ...]
    notices: tuple[str, ...] = ()


@contextlib.contextmanager
def forms_of(
    model: Path,
    int8: bool,
    calibration: Path | None,
    shapes: Mapping[str, tuple[int, ...]],
    progress: Progress = _SILENT,
) -> Iterator[Forms]:
    """Yield `model` as it is and, with a calibration, quantised; with `int8` that alone.

    The quantised copy has the same name. A model that cannot be quantised races as it is, and the
    form that is lacking says why, unless `int8` is wanted.

    Raises:
        UsageError: `int8` is wanted without a calibration.
        TinymlaasError: see `quantise_file`.
    """
    given = Form(model)
    if calibration is None:
        if int8:
            raise UsageError("--int8 needs samples to quantise with: give --calibration FILE.npz")
        yield Forms((given,))
        return
    try:
        done = quantise_file(model, calibration, shapes=shapes, progress=progress)
    except (UnsupportedModel, Failure) as error:
        if int8 or isinstance(error, StoreError):
            raise
        refused = isinstance(error, UnsupportedModel)
        yield Forms((given, Form(model, lacking=lacking(refused, error.reasons))))
        return
    with guardian.scratch("int8") as folder:
        copy = folder / f"{model.stem}.tflite"
        copy.write_bytes(done.model)
        report = done.report.model_copy(update={"model": model.name})
        quantised = Form(copy, report)
        yield Forms((quantised,) if int8 else (given, quantised), report.warnings)


def check_output(path: Path) -> None:
    """Refuse a `path` that cannot be written, before any long work.

    Raises:
        UsageError: it is a folder, or its folder is not there or cannot be written.
    """
    check_directory(path.parent)
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")


def write(quantised: Quantised, path: Path) -> QuantisationReport:
    """Write the model to `path`, whole or not at all; return the report, which then names it.

    Raises:
        Failure: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with guardian.scratch("quantise", path.parent) as folder:
            part = folder / "model"
            part.write_bytes(quantised.model)
            os.replace(part, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}") from None
    return quantised.report.model_copy(update={"model": str(path)})


def default_output(model: Path, activations: Activations) -> Path:
    """Return where the result goes if nothing else is said: the working folder."""
    return Path(f"{model.stem}_{SUFFIX[activations]}.tflite")
