"""What a model is, as an inspecting worker reports it; the scheduler never parses a model."""

from __future__ import annotations

from enum import StrEnum

from tinymlaas.contract.base import Model
from tinymlaas.contract.tensors import DType, TensorSpec


class ModelFormat(StrEnum):
    """Model formats accepted."""

    ONNX = "onnx"
    TFLITE = "tflite"


class OperatorUse(Model):
    """How often one operator stands in a model and on which element type it computes.

    `name` is the format's own (``Conv``, ``CONV_2D``); `dtype` is that of its first output, or of
    its first non-constant input where it has one. A domain other than the default is written
    before the name with a dot (``com.microsoft.Gelu``).
    """

    name: str
    dtype: DType
    count: int


class ModelSummary(Model):
    """A model's facts: boundary tensors, operators, work and size.

    `macs` are multiply-accumulates per inference, `weight_bytes` those of all constants as stored
    in the model, `estimated_flash_bytes` and `estimated_ram_bytes` are known before compiling and
    are labelled ``estimated`` wherever shown. `dtype` is the dominant element type of activations.
    """

    digest: str
    format: ModelFormat
    opset: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[OperatorUse, ...]
    dtype: DType
    macs: int
    weight_bytes: int
    parameters: int
    estimated_flash_bytes: int
    estimated_ram_bytes: int
