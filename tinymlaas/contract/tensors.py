"""Tensors as every stage names them: shape, dtype and affine quantisation."""

from __future__ import annotations

from enum import StrEnum
from math import prod
from typing import Annotated

from pydantic import Field

from tinymlaas.contract.base import Model


class DType(StrEnum):
    """Element types a module may have at its boundary, named as in NumPy."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    BOOL = "bool"

    @property
    def itemsize(self) -> int:
        """Bytes an element takes."""
        return _ITEMSIZE[self]


_ITEMSIZE = {
    DType.FLOAT32: 4,
    DType.FLOAT16: 2,
    DType.INT8: 1,
    DType.UINT8: 1,
    DType.INT16: 2,
    DType.INT32: 4,
    DType.INT64: 8,
    DType.BOOL: 1,
}


class Quantization(Model):
    """Affine quantisation, real = scale × (q − zero_point) (TFLite quantisation specification)."""

    scale: float
    zero_point: int


class TensorSpec(Model):
    """One input or output: row-major, static shape (empty for a scalar)."""

    name: str
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    dtype: DType
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.size * self.dtype.itemsize
