"""TFLite's integer arithmetic, as its quantisation specification and gemmlowp define it.

Python integers throughout, so nothing overflows unseen; the C kernels compute the same.
"""

from __future__ import annotations

import math

_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1
MOST_LEFT = 30  # places that TFLite shifts an int32 to the left at most


class UnusableScale(ValueError):
    """A ratio of scales that no multiplier and shift stand for."""


def clamp(value: int, low: int, high: int) -> int:
    """Return `value` limited to [low, high]."""
    return max(low, min(high, value))


def saturate32(value: int) -> int:
    """Return `value` limited to int32."""
    return clamp(value, _INT32_MIN, _INT32_MAX)


def wrap32(value: int) -> int:
    """Return `value` modulo 2^32 as int32: what a C accumulator holds."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def round_half_away(value: float) -> int:
    """Round to the nearest integer, halves away from zero (C's ``round``)."""
    whole = math.floor(abs(value))
    whole += abs(value) - whole >= 0.5  # exact, where adding 0.5 first could round
    return whole if value >= 0 else -whole


def quantize_multiplier(real: float, most: int = MOST_LEFT) -> tuple[int, int]:
    """Return (multiplier, shift) with real ≈ multiplier / 2^31 × 2^shift.

    multiplier lies in [2^30, 2^31) or is 0; values below 2^-32 become (0, 0).

    Raises:
        UnusableScale: `real` is negative, no number, or needs a shift of more than `most`.
    """
    if real == 0.0:
        return 0, 0
    if not 0 < real < math.inf:
        raise UnusableScale(f"scales with the ratio {real:g}")
    fraction, shift = math.frexp(real)
    fixed = round_half_away(fraction * (1 << 31))
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > most:
        raise UnusableScale(f"scales with the ratio {real:g}: 2^{most} or more")
    return fixed, shift


def doubling_high_mul(a: int, b: int) -> int:
    """Return round(a × b / 2^31), halves up, saturated at INT32_MAX (both INT32_MIN)."""
    return min((a * b + (1 << 30)) >> 31, _INT32_MAX)


def rounding_shift_right(value: int, exponent: int) -> int:
    """Return value / 2^exponent rounded to nearest, halves away from zero."""
    if exponent == 0:
        return value
    remainder = value & ((1 << exponent) - 1)
    threshold = ((1 << exponent) - 1 >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if remainder > threshold else 0)


def requantize(value: int, multiplier: int, shift: int) -> int:
    """Return TFLite's MultiplyByQuantizedMultiplier with two roundings, as TFLM computes it."""
    left, right = max(shift, 0), max(-shift, 0)
    return rounding_shift_right(doubling_high_mul(wrap32(value << left), multiplier), right)
