"""The quantise stage: float model and samples in, integer TFLite model and report out.

`quantise` runs in a sandbox; `quantise_stored` has it run there, unless the same was asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.progress import Progress, Silent
from tinymlaas.contract.quantisation import (
    Activations,
    FloatFormat,
    QuantisationOutcome,
    QuantisationReport,
)
from workers import guardian, sandbox
from workers.models.hygiene import sniff
from workers.models.reference import open_reference
from workers.models.summary import summarise
from workers.quantise import libraries, measure
from workers.quantise.calibration import load_calibration
from workers.quantise.finish import finish
from workers.quantise.from_keras import KerasModel, is_keras
from workers.quantise.from_onnx import OnnxModel
from workers.quantise.from_tflite import TfliteModel
from workers.quantise.source import FloatModel, refuse_no_numbers
from workers.samples import accuracy
from workers.sources import source_digest

SECONDS = 1800.0
WHO = "quantise"
_SERVICE = ("workers.quantise", "workers.models", "workers.samples", "workers.verify.tflm_host")
_SILENT = Silent()
_SOURCES: Mapping[FloatFormat, Callable[..., FloatModel]] = {
    FloatFormat.ONNX: OnnxModel,
    FloatFormat.TFLITE: TfliteModel,
    FloatFormat.KERAS: KerasModel,
}


@dataclass(frozen=True)
class Request:
    """What is asked: the files' bytes, their names (for reasons only), and how to quantise."""

    model: bytes
    model_name: str
    calibration: bytes
    calibration_name: str
    activations: Activations = Activations.INT8
    shapes: Mapping[str, tuple[int, ...]] | None = None

    def digest(self, libraries_used: str) -> str:
        """Return the digest of everything that can change the answer."""
        facts = {
            "model": sha256(self.model),
            "calibration": sha256(self.calibration),
            "activations": self.activations,
            "shapes": {name: list(shape) for name, shape in (self.shapes or {}).items()},
            "libraries": libraries_used,
            "references": libraries.references(),
            "service": source_digest(*_SERVICE),
        }
        return digest_of(facts)


@dataclass(frozen=True)
class Quantised:
    """An integer TFLite model and what is known of it."""

    model: bytes
    report: QuantisationReport


def format_of(data: bytes, name: str) -> FloatFormat:
    """Return the format of `data` by its content.

    Raises:
        InvalidModel: it is no sound model of any format accepted.
    """
    if is_keras(data):
        return FloatFormat.KERAS
    return FloatFormat.ONNX if sniff(data, name) is ModelFormat.ONNX else FloatFormat.TFLITE


def quantise(request: Request, scratch: Path) -> Quantised:
    """Quantise `request`; call it in a sandbox. The same request gives the same bytes.

    Raises:
        InvalidModel: the file is damaged or of no known format.
        UnsupportedModel: something in the model has no integer form here.
        UsageError: calibration or shapes do not go with the model, or a library is missing.
    """
    source = format_of(request.model, request.model_name)
    converter = libraries.require(source)
    model = _SOURCES[source](request.model, request.model_name, request.shapes or {}, scratch)
    inputs, outputs = model.boundary.inputs, model.boundary.outputs
    known = load_calibration(request.calibration, request.calibration_name, inputs, outputs[0])
    samples = known.samples.samples
    expected = [model.run(sample) for sample in samples]
    refuse_no_numbers(expected, outputs, request.calibration_name)
    made = finish(model.quantise(samples, request.activations), model.boundary)
    summary = summarise(made, ModelFormat.TFLITE)
    reference = open_reference(made, ModelFormat.TFLITE, summary.dtype)
    got = measure.run_quantised(reference, samples, summary.inputs, summary.outputs)
    errors = measure.output_errors(expected, got, outputs)
    report = QuantisationReport(
        source=source,
        activations=request.activations,
        samples=len(samples),
        inputs=summary.inputs,
        outputs=summary.outputs,
        float_bytes=len(request.model),
        quantised_bytes=len(made),
        float_accuracy=accuracy([sample[0] for sample in expected], known.labels),
        quantised_accuracy=accuracy([sample[0] for sample in got], known.labels),
        errors=errors,
        float_reference=model.reference,
        quantised_reference=reference.name,
        converter=converter,
        warnings=(*known.warnings, *model.remarks, *measure.far_off(errors)),
    )
    return Quantised(made, report)


def quantise_here(request: Request) -> Quantised:
    """Quantise `request` with the working directory for files; see `quantise`."""
    return quantise(request, Path.cwd())


def quantise_stored(
    request: Request,
    store: ObjectStore,
    seconds: float = SECONDS,
    progress: Progress = _SILENT,
) -> QuantisationOutcome:
    """Return the outcome of `request` from `store`, or quantise in a sandbox and store it.

    Raises:
        Rejection: see `quantise`.
        CompilerCrashed: a library crashed or took longer than `seconds`.
    """
    with guardian.scratch("quantise") as scratch:
        progress.stage(WHO, "reading the model")
        source = sandbox.call(
            "workers.quantise.stage:format_of",
            request.model,
            request.model_name,
            returns=FloatFormat,
            step=sandbox.Step.INSPECT,
            log=scratch / "log",
            what="reading the model",
        )
        key = keys.quantisation_outcome(request.digest(libraries.require(source)))
        stored = _stored(key, store)
        if stored is not None:
            progress.end(WHO, "taken from the store")
            report = stored.report.model_copy(update={"cached": True})
            return stored.model_copy(update={"report": report})
        progress.stage(WHO, f"quantising to {request.activations}")
        done: Quantised = sandbox.call(
            "workers.quantise.stage:quantise_here",
            request,
            returns=Quantised,
            step=sandbox.Step.QUANTISE,
            seconds=seconds,
            log=scratch / "log",
            what="quantising",
            preload=("workers.quantise.warm",),
        )
    progress.end(WHO, "done")
    store.put(keys.blob_of(done.model), done.model)
    outcome = QuantisationOutcome(model_digest=sha256(done.model), report=done.report)
    store.put_if_absent(key, outcome.model_dump_json().encode())
    return outcome


def _stored(key: keys.Key, store: ObjectStore) -> QuantisationOutcome | None:
    """Return the stored outcome if it and its model are whole; what is damaged is dropped."""
    if store.head(key) is None:
        return None
    try:
        found = QuantisationOutcome.model_validate_json(store.get(key))
        store.get(keys.blob(found.model_digest))
    except (ValidationError, ObjectNotFound, ObjectDamaged):
        store.delete(key)
        return None
    return found
