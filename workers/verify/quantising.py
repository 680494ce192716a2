"""Between real numbers and the integers that stand for them.

TFLite's quantisation specification: q = round(real ÷ scale) + zero point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.tensors import TensorSpec

Array = NDArray[Any]


def quantised(value: Array, spec: TensorSpec) -> Array:
    """Return real `value` as `spec` stores it: round half away from zero, saturate."""
    if spec.quantization is None:
        return value.astype(spec.dtype.value)
    with np.errstate(over="ignore"):  # what overflows saturates
        steps = value.astype(np.float64) / spec.quantization.scale
    rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps) + spec.quantization.zero_point
    limits = np.iinfo(spec.dtype.value)
    return np.clip(rounded, limits.min, limits.max).astype(spec.dtype.value)


def dequantised(value: Array, spec: TensorSpec) -> Array:
    """Return the real numbers that `value`, stored as `spec` says, stands for."""
    if spec.quantization is None:
        return value
    centred = value.astype(np.float64) - spec.quantization.zero_point
    return np.asarray(centred * spec.quantization.scale)
