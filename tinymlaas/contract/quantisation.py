"""Post-training quantisation: what is asked, what came out, how near it is to the float model."""

from __future__ import annotations

from enum import StrEnum

from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import Sha256
from tinymlaas.contract.tensors import TensorSpec


class Activations(StrEnum):
    """Element type of activations, inputs and outputs; weights are int8 per channel in both."""

    INT8 = "int8"
    INT16X8 = "int16x8"


class FloatFormat(StrEnum):
    """Formats a float model may come in."""

    ONNX = "onnx"
    TFLITE = "tflite"
    KERAS = "keras"


class OutputError(Model):
    """How far one output of the quantised model, dequantised, is from the float model's.

    Over all elements and samples evaluated. The three errors are divided by the range, max − min,
    of the float output. `sqnr_db` is 10 log10 (mean float² ÷ mean error²); None where the error or
    the signal is zero.
    """

    name: str
    range: float
    max_error: float
    mean_error: float
    rms_error: float
    sqnr_db: float | None


class QuantisationReport(Model):
    """What `tinymlaas quantize --json` prints.

    Accuracies are the share of `samples` whose largest element of the first output has the
    label's index; None without labels. Sizes are bytes of the model files.
    """

    source: FloatFormat
    activations: Activations
    samples: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    float_bytes: int
    quantised_bytes: int
    float_accuracy: float | None
    quantised_accuracy: float | None
    errors: tuple[OutputError, ...]
    float_reference: str
    quantised_reference: str
    converter: str
    warnings: tuple[str, ...] = ()
    model: str | None = None
    cached: bool = False


class QuantisationOutcome(Model):
    """Finished work of the quantise stage; the model is the blob `model_digest`."""

    model_digest: Sha256
    report: QuantisationReport
