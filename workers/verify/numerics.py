"""How far a module's outputs are from the reference's, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import Failure
from tinymlaas.contract.manifest import Numerics
from tinymlaas.contract.tensors import DType, TensorSpec

Array = NDArray[Any]
Outputs = Sequence[Array]
"""The outputs of one sample, in the model's order."""

FLOAT32_TOLERANCE = 1e-4
FLOAT16_TOLERANCE = 2e-3
"""Four times half-precision's unit roundoff of 2**-11: a result and a few steps before it."""
QUANTIZED_STEPS = 2
QUANTIZED_TOLERANCE = 0.1
"""Steps, and share of the range, a quantised output may be off; see `tolerances`."""
WORST = float(np.finfo(np.float32).max)
"""Stands for "not comparable" (NaN against a number): finite, since JSON has no infinity."""


def compare(
    reference: Sequence[Outputs], got: Sequence[Outputs], bounds: Sequence[float]
) -> Numerics:
    """Compare outputs of the same samples, sample by sample, output by output.

    `bounds` has one bound on the relative error for each output. The errors and the tolerance
    returned are those of the one output that comes nearest to its own bound, or exceeds it most:
    what one output may be off is no excuse for another. Where none is off it is the one with the
    widest bound, so that a tolerance of 0 that was kept says that every bound was 0.

    Differences are taken in double precision; for an integer output the unit is one step. NaN
    equals NaN and an infinity the same infinity; against anything else they differ by `WORST`.
    `max_rel_error` divides by the range, max − min of that output's finite reference values over
    all samples; if that is 0 by the largest magnitude among them, if that too is 0 by 1.
    `bit_exact` compares representations, so that 0.0 and −0.0 differ, but all NaNs are one; it is
    true if it is of every output.

    Raises:
        Failure: there are no samples, or their number, or the number, shapes or dtypes of the
            outputs differ.
    """
    _same_form(reference, got, len(bounds))
    found = [
        _compare_output([sample[index] for sample in reference], [s[index] for s in got], bound)
        for index, bound in enumerate(bounds)
    ]
    if not found:
        return Numerics(max_abs_error=0.0, max_rel_error=0.0, bit_exact=True, tolerance=0.0)
    exact = all(each.bit_exact for each in found)
    return max(found, key=_exhaustion).model_copy(update={"bit_exact": exact})


def _compare_output(expected: Outputs, actual: Outputs, bound: float) -> Numerics:
    error = max(map(_max_difference, expected, actual))
    return Numerics(
        max_abs_error=error,
        max_rel_error=min(error / value_range(expected), WORST),
        bit_exact=all(map(_same_bits, expected, actual)),
        tolerance=bound,
    )


def _exhaustion(numerics: Numerics) -> tuple[float, float, float]:
    """Return how much of its tolerance an output uses up; beyond 1 it is too far off."""
    error, bound = numerics.max_rel_error, numerics.tolerance
    return (error / bound if bound else float("inf") if error else 0.0), error, bound


def within(numerics: Numerics) -> bool:
    """Return whether the outputs are near enough to the reference's."""
    return numerics.max_rel_error <= numerics.tolerance


def tolerances(outputs: Sequence[TensorSpec], reference: Sequence[Outputs]) -> list[float]:
    """Return how far each of these outputs of a module may be off; see `compare`.

    float32: 1e-4, float16: 2e-3 of the output's range. A quantised integer output may be off by
    `QUANTIZED_STEPS` steps or `QUANTIZED_TOLERANCE` of its range over `reference`, whichever is
    more. An integer reference rounds after every operator; who computes in floats between, or with
    other fixed-point multipliers, lands on the other side of a half now and then (measured: one
    step in 0.1% of a convolution's results), and the layers after, a softmax last, multiply that.
    On MLPerf Tiny's kws and ic this comes to 18 steps (7% of the range), although every operator
    alone is within one step; moving their *inputs* by one step changes the reference's own output
    by up to 34 (13%). Judge a quantised module by `bit_exact` where that can be had. Any other
    integer and bool output must be exact (0).
    """
    return [
        _tolerance(spec, [sample[index] for sample in reference])
        for index, spec in enumerate(outputs)
    ]


def value_range(values: Outputs) -> float:
    """Return max − min of the finite values, or what stands for it; see `compare`."""
    flat = np.concatenate([np.asarray(value, dtype=np.float64).ravel() for value in values])
    finite = flat[np.isfinite(flat)]
    if finite.size == 0:
        return 1.0
    spread = float(finite.max() - finite.min())
    return spread or float(np.abs(finite).max()) or 1.0


def _tolerance(spec: TensorSpec, values: Outputs) -> float:
    if spec.dtype is DType.FLOAT32:
        return FLOAT32_TOLERANCE
    if spec.dtype is DType.FLOAT16:
        return FLOAT16_TOLERANCE
    if spec.quantization is None:
        return 0.0
    return max(QUANTIZED_STEPS / value_range(values), QUANTIZED_TOLERANCE)


def _same_form(reference: Sequence[Outputs], got: Sequence[Outputs], outputs: int) -> None:
    if not reference or len(reference) != len(got):
        raise Failure(f"the module answered {len(got)} samples of {len(reference)}")
    for expected, actual in zip(reference, got, strict=True):
        if not outputs == len(expected) == len(actual):
            raise Failure(
                f"the module has {len(actual)} outputs, the reference {len(expected)}, "
                f"the model {outputs}"
            )
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            if (one.shape, one.dtype) != (other.shape, other.dtype):
                raise Failure(
                    f"output {index} of the module is {other.dtype}{list(other.shape)}, "
                    f"the reference's {one.dtype}{list(one.shape)}"
                )


def _max_difference(expected: Array, actual: Array) -> float:
    if expected.size == 0:
        return 0.0
    one, other = expected.astype(np.float64), actual.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(one - other))
    return min(float(np.nan_to_num(difference, nan=WORST, posinf=WORST).max()), WORST)


def _same_bits(expected: Array, actual: Array) -> bool:
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, actual))
    both_nan = np.isnan(expected) & np.isnan(actual)
    bits = f"u{expected.dtype.itemsize}"
    one = np.ascontiguousarray(expected).view(bits)
    other = np.ascontiguousarray(actual).view(bits)
    return bool(np.all(both_nan | (one == other)))
