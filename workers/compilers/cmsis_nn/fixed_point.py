"""Elementary functions in 32-bit fixed point, as gemmlowp defines them for TFLite.

A value in Qn.m is the integer value × 2^m; arguments say their integer bits n, results are Q0.31.
The C of `kernels/nn_exp.h` computes the same.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.arithmetic import (
    doubling_high_mul,
    rounding_shift_right,
    saturate32,
)

_ONE = (1 << 31) - 1  # the largest Q0.31 stands for 1
_EXP_CENTRE = 1895147668  # exp(-1/8)
_THIRD = 715827883
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-2^k), k ≥ -2
_FIRST = -2
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540  # Q2.29


def exp_negative(value: int, integer_bits: int) -> int:
    """Return exp(value) for value ≤ 0."""
    if value == 0:
        return _ONE
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    fraction = (value & (quarter - 1)) - quarter
    result = _exp_quarter(saturate32(fraction << integer_bits))
    rest = fraction - value
    for k, power in enumerate(_POWERS):
        if integer_bits > k + _FIRST and rest & (quarter << k):
            result = doubling_high_mul(result, power)
    return result


def _exp_quarter(value: int) -> int:
    """Return exp(value) for value in [-1/4, 0) as Q0.31."""
    x = value + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4 = doubling_high_mul(x2, x2)
    cubic = doubling_high_mul(rounding_shift_right(x4, 2) + x3, _THIRD)
    tail = rounding_shift_right(cubic + x2, 1)
    return _EXP_CENTRE + doubling_high_mul(_EXP_CENTRE, x + tail)


def _newton(value: int) -> int:
    """Return 2 / (1 + value) as Q2.29 for value in [0, 1] as Q0.31."""
    half = (value + _ONE + 1) // 2
    x = _48_OVER_17 + doubling_high_mul(half, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half, x)
        x += saturate32(doubling_high_mul(x, error) << 2)
    return x


def logistic(value: int, integer_bits: int) -> int:
    """Return 1 / (1 + exp(-value))."""
    if value == 0:
        return 1 << 30
    positive = saturate32(_newton(exp_negative(-abs(value), integer_bits)) << 1)
    return positive if value > 0 else _ONE - positive


def tanh(value: int, integer_bits: int) -> int:
    """Return the hyperbolic tangent of value."""
    if value == 0:
        return 0
    # exp(-2 |value|): the same bits with one integer bit more
    x = _newton(exp_negative(-abs(value), integer_bits + 1))
    positive = saturate32((x - (1 << 29)) << 2)
    return positive if value > 0 else -positive
