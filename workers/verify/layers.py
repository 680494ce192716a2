"""Where a module's numbers part from the reference's: the tensors inside it, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.compiler import Tap
from tinymlaas.contract.manifest import LayerNumerics, Layers, Numerics
from workers.verify.numerics import (
    FLOAT16_TOLERANCE,
    FLOAT32_TOLERANCE,
    QUANTIZED_STEPS,
    compare,
    value_range,
)

Array = NDArray[Any]
_FLOATS = {4: FLOAT32_TOLERANCE, 2: FLOAT16_TOLERANCE}


def compare_layers(
    taps: Sequence[Tap],
    reference: Sequence[Sequence[Array]],
    got: Sequence[Sequence[Array]],
    *,
    exact: bool,
) -> list[LayerNumerics]:
    """Return each tap's errors over all samples; `reference` and `got` have an array a tap.

    The tolerance is what rounding alone explains there: 1e-4 of the tensor's range in float32, 2e-3
    in float16, in integers two steps, and nothing if the compiler promises to be `exact`.

    Raises:
        Failure: a tensor has another shape or type than the reference's.
    """
    found = []
    for index, tap in enumerate(taps):
        expected = [[sample[index]] for sample in reference]
        actual = [[sample[index]] for sample in got]
        bound = 0.0 if exact else rounding([values for (values,) in expected])
        found.append(
            LayerNumerics(
                layer=tap.layer,
                operator=tap.operator,
                tensor=tap.tensor.spec.name,
                numerics=compare(expected, actual, [bound]),
            )
        )
    return found


def summarise(found: Sequence[LayerNumerics], tensors: int) -> Layers:
    """Return the certificate's view of `found`; `tensors` is how many the model has."""
    return Layers(
        tensors=tensors,
        compared=len(found),
        exact=sum(each.numerics.bit_exact for each in found),
        first=_first(each for each in found if not each.numerics.bit_exact),
        beyond=_first(each for each in found if _too_far(each.numerics)),
    )


def said(layers: Layers) -> str:
    """Return one line on where the numbers part."""
    of = f"{layers.compared} of the model's {layers.tensors} tensors are in the module"
    blamed = layers.beyond or layers.first
    if blamed is None:
        return f"no layer differs where it was looked: {of}"
    error = blamed.numerics.max_rel_error
    how = "first differs" if blamed is layers.first else "first differs by more than rounding"
    return (
        f"{how} at layer {blamed.layer} {blamed.operator} {blamed.tensor!r}: "
        f"off by {error:.2g} of that tensor's range ({of})"
    )


def _first(found: Iterable[LayerNumerics]) -> LayerNumerics | None:
    return next(iter(found), None)


def _too_far(numerics: Numerics) -> bool:
    return numerics.max_rel_error > numerics.tolerance


def rounding(values: Sequence[Array]) -> float:
    """Return the share of the range of `values` that rounding alone explains."""
    if values[0].dtype.kind == "f":
        return _FLOATS.get(values[0].dtype.itemsize, float(np.finfo(np.float64).eps))
    return QUANTIZED_STEPS / value_range(values)
