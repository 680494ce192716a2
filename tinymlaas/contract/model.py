"""What a model is, as an inspecting worker reports it; the scheduler never parses a model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.tensors import DType, TensorSpec


class ModelFormat(StrEnum):
    """Model formats accepted."""

    ONNX = "onnx"
    TFLITE = "tflite"


_LISTED = 8


class OperatorUse(Model):
    """Where one operator stands in a model and on which element type it computes.

    `indices` are its places in the order of the static model, from 0. `name` is the format's own
    (``Conv``, ``CONV_2D``); `dtype` is that of its first output, or of its first non-constant input
    where it has one. A domain other than the default is written before the name with a dot
    (``com.microsoft.Gelu``).
    """

    name: str
    dtype: DType
    indices: Annotated[tuple[int, ...], Field(min_length=1)]

    @property
    def unsupported(self) -> str:
        """What to say where a compiler does not have the operator: which and where it stands."""
        several = len(self.indices) > 1
        where = ", ".join(map(str, self.indices[:_LISTED]))
        more = ", …" if len(self.indices) > _LISTED else ""
        return (
            f"operator{'s' * several} {where}{more} ({self.name}, {self.dtype}) "
            f"{'are' if several else 'is'} not supported"
        )


class ModelSummary(Model):
    """A model's facts: boundary tensors, operators, work and size.

    `macs` are multiply-accumulates per inference, `weight_bytes` those of all constants as stored
    in the model, `multiplied_bytes` those of the constants that no compiler can do without (see
    `workers.models.multiplied`), `estimated_flash_bytes` and `estimated_ram_bytes` are known before
    compiling and are labelled ``estimated`` wherever shown. `estimated_fused_ram_bytes` is the same
    for a compiler that computes element-wise operators, of two operands too, in the operator
    before, overwrites what dies there, and keeps quantised values as real numbers between
    operators; None where nobody has asked. `dtype` is the dominant element type of activations.
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
    multiplied_bytes: int = 0
    parameters: int
    estimated_flash_bytes: int
    estimated_ram_bytes: int
    estimated_fused_ram_bytes: int | None = None
