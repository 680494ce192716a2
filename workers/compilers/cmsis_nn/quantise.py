"""Quantisation parameters of operators, derived as TFLite Micro derives them.

Which products are formed in float32 and which in float64 is part of the result, so the types
here follow TFLite's kernels and must not be tidied.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.arithmetic import quantize_multiplier, round_half_away
from workers.compilers.cmsis_nn.graph import Affine
from workers.compilers.cmsis_nn.options import Activation

RANGES = {DType.INT8: (-128, 127), DType.INT16: (-32768, 32767), DType.UINT8: (0, 255)}


def multipliers(reals: list[float]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the arrays of `quantize_multiplier` over `reals`.

    Raises:
        UnusableScale: as `quantize_multiplier`.
    """
    pairs = [quantize_multiplier(real) for real in reals]
    return (
        np.array([multiplier for multiplier, _ in pairs], np.int32),
        np.array([shift for _, shift in pairs], np.int32),
    )


def conv_scales(source: Affine, weights: Affine, target: Affine, channels: int) -> list[float]:
    """Return the effective scale of each output channel (float64 products)."""
    scales = weights.scales if len(weights.scales) > 1 else np.repeat(weights.scales, channels)
    return [float(source.scale) * float(s) / float(target.scale) for s in scales]


def dense_scale(source: Affine, weights: Affine, target: Affine) -> float:
    """Return the effective scale of a per-tensor fully connected layer (a float32 product)."""
    return float(np.float32(source.scale * weights.scale)) / float(target.scale)


def activation_range(activation: int, target: Affine, dtype: DType) -> tuple[int, int]:
    """Return the clamp [min, max] that fused `activation` means for the quantised output.

    Raises:
        ValueError: the activation is not a clamp, or its bound overflows int32.
    """
    low, high = RANGES[dtype]
    bounds = {
        Activation.NONE: (None, None),
        Activation.RELU: (0.0, None),
        Activation.RELU6: (0.0, 6.0),
        Activation.RELU_N1_TO_1: (-1.0, 1.0),
    }.get(Activation(activation))
    if bounds is None:
        raise ValueError(f"fused activation {Activation(activation).name} is not supported")
    if bounds[0] is not None:
        low = max(low, _quantise(bounds[0], target))
    if bounds[1] is not None:
        high = min(high, _quantise(bounds[1], target))
    return low, high


def _quantise(real: float, affine: Affine) -> int:
    steps = np.float32(real) / affine.scale
    if not abs(steps) < 2.0**31:
        raise ValueError("the output scale is too small for its fused activation")
    return affine.zero_point + round_half_away(float(steps))


def softmax_parameters(beta: float, scale: float) -> tuple[int, int, int]:
    """Return (multiplier, left shift, diff_min) of an int8 softmax with Q5.26 differences."""
    real = min(float(np.float32(beta)) * scale * (1 << 26), (1 << 31) - 1.0)
    # 31 where the scale is limited: then no difference but 0 counts, and that is shifted as well
    multiplier, shift = quantize_multiplier(real, most=31)
    return multiplier, shift, -input_radius(5, shift)


def input_radius(integer_bits: int, left_shift: int, total_bits: int = 31) -> int:
    """Return the largest input whose rescaled value still fits Q`integer_bits`."""
    top = ((1 << integer_bits) - 1) * (1 << (total_bits - integer_bits))
    return math.floor(float(top) / float(1 << left_shift))
