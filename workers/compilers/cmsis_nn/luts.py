"""Functions of one int8 element as tables of 256: computed here exactly as TFLM computes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.compilers.cmsis_nn import fixed_point
from workers.compilers.cmsis_nn.arithmetic import (
    clamp,
    quantize_multiplier,
    requantize,
    round_half_away,
    rounding_shift_right,
)
from workers.compilers.cmsis_nn.graph import Affine
from workers.compilers.cmsis_nn.quantise import input_radius

Table = NDArray[np.int8]
_INPUT_BITS = 4
_INT16_MIN, _INT16_MAX = -(1 << 15), (1 << 15) - 1


def table(function: Callable[[int], int]) -> Table:
    """Return the table of `function` over −128 … 127, results limited to int8."""
    return np.array([clamp(function(q), -128, 127) for q in range(-128, 128)], np.int8)


def requantisation(source: Affine, target: Affine) -> Table:
    """QUANTIZE from int8 to int8."""
    multiplier, shift = quantize_multiplier(float(source.scale) / float(target.scale))
    return table(lambda q: requantize(q - source.zero_point, multiplier, shift) + target.zero_point)


def relu(source: Affine, target: Affine) -> Table:
    """RELU, which requantises."""
    return np.maximum(requantisation(source, target), np.int8(clamp(target.zero_point, -128, 127)))


def relu6(source: Affine) -> Table:
    """RELU6: TFLM clamps by the input's quantisation and leaves the scale as it is."""
    six = source.zero_point + round_half_away(float(np.float32(6) / source.scale))
    return table(lambda q: clamp(q, source.zero_point, max(source.zero_point, min(six, 127))))


def leaky_relu(source: Affine, target: Affine, alpha: float) -> Table:
    """LEAKY_RELU; `alpha` is rounded to float32, the products are float64.

    A negative slope is applied as its opposite and the sign turned, so halves round to zero.
    """
    ratio = float(source.scale) / float(target.scale)
    slope = float(source.scale) * float(np.float32(alpha)) / float(target.scale)
    factor, slope_factor = quantize_multiplier(ratio), quantize_multiplier(abs(slope))

    def value(q: int) -> int:
        step = q - source.zero_point
        if step >= 0:
            return requantize(step, *factor) + target.zero_point
        scaled = requantize(step, *slope_factor)
        return (scaled if slope >= 0 else -scaled) + target.zero_point

    return table(value)


def logistic(source: Affine) -> Table:
    """LOGISTIC: output scale 1/256, zero point −128."""

    def value(raw: int) -> int:
        return rounding_shift_right(fixed_point.logistic(raw, _INPUT_BITS), 23) - 128

    return _sigmoidal(source, value)


def tanh(source: Affine) -> Table:
    """TANH: output scale 1/128, zero point 0."""

    def value(raw: int) -> int:
        return rounding_shift_right(fixed_point.tanh(raw, _INPUT_BITS), 24)

    return _sigmoidal(source, value)


def _sigmoidal(source: Affine, function: Callable[[int], int]) -> Table:
    fraction, shift = math.frexp(float(source.scale) * float(1 << (31 - _INPUT_BITS)))
    multiplier = round_half_away(fraction * (1 << 31))
    radius = input_radius(_INPUT_BITS, shift)

    def value(q: int) -> int:
        step = q - source.zero_point
        if abs(step) >= radius:
            return 127 if step > 0 or (step == 0 and radius < 0) else -128
        return function(requantize(step, multiplier, shift))

    return table(value)


def hard_swish(source: Affine, target: Affine) -> Table:
    """HARD_SWISH in 16-bit fixed point.

    Raises:
        ValueError: the output scale is too small for the input's.
    """
    fine = float(source.scale) / 128
    output, output_exponent = quantize_multiplier(fine / float(target.scale))
    if output_exponent > 0:
        raise ValueError("the output scale is too small for the input's")
    reluish, reluish_exponent = quantize_multiplier(fine / (3 / 32768))
    output16, reluish16 = _to_int16(output), _to_int16(reluish)

    def value(q: int) -> int:
        step = _wrap16((q - source.zero_point) * 128)
        scaled = _high_mul16(step, output16)
        gate = step
        if reluish_exponent > 0:
            gate = clamp(gate << (reluish_exponent - 1), _INT16_MIN, _INT16_MAX)
        gate = _high_mul16(gate, reluish16)
        if reluish_exponent > 0:
            gate = clamp(gate << 1, _INT16_MIN, _INT16_MAX)
        if reluish_exponent < 0:
            gate = rounding_shift_right(gate, -reluish_exponent)
        gate = (gate + (1 << 15)) >> 1
        product = abs(gate * scaled) >> 15
        product = product if gate * scaled >= 0 else -product
        return rounding_shift_right(product, -output_exponent) + target.zero_point

    return table(value)


def _to_int16(multiplier: int) -> int:
    return min((multiplier + (1 << 15)) >> 16, _INT16_MAX)


def _wrap16(value: int) -> int:
    return (value + (1 << 15)) % (1 << 16) - (1 << 15)


def _high_mul16(a: int, b: int) -> int:
    return min((a * b + (1 << 14)) >> 15, _INT16_MAX)
