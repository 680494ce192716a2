"""What every source format gives the stage: its boundary, its float outputs, its int8 form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UnsupportedModel, UsageError
from tinymlaas.contract.quantisation import Activations
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.models.shapes import Shapes
from workers.models.summary import inspect

Array = NDArray[Any]


@dataclass(frozen=True)
class Boundary:
    """A float model's inputs and outputs, static, in its own order and layout."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


_INTEGERS = (DType.INT8, DType.UINT8, DType.INT16)
_ONNX_INTEGERS = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul")


def read_float(data: bytes, name: str, shapes: Shapes) -> tuple[bytes, Boundary]:
    """Check an ONNX or TFLite model; return it with static shapes, and its boundary.

    Raises:
        Rejection: see `workers.models.summary.inspect`.
        UsageError: it is quantised already.
    """
    found = inspect(data, name, shapes)
    summary = found.summary
    specs = (*summary.inputs, *summary.outputs)
    integers = any(spec.quantization is not None for spec in specs) or summary.dtype in _INTEGERS
    if integers or any(use.name in _ONNX_INTEGERS for use in summary.operators):
        raise UsageError(f"{name}: is quantised already; give the float model it was made from")
    return found.model, Boundary(summary.inputs, summary.outputs)


NEAR = 1e-3
"""Largest difference, by the output's range, of a rebuilt float model from the source."""


def difference(got: Array, want: Array) -> float:
    """Return the largest difference by the range of `want`.

    It is infinite if the shapes differ or one of the two holds what is no number.
    """
    if got.shape != want.shape:
        return float("inf")
    if want.size == 0:
        return 0.0
    one, other = got.astype(np.float64), want.astype(np.float64)
    spread = float(np.ptp(other)) or float(np.abs(other).max()) or 1.0
    off = float(np.abs(one - other).max()) / spread
    return float("inf") if np.isnan(off) else off


def probe(samples: Sequence[Sequence[Array]]) -> list[Array]:
    """Return one sample that tells one order of its elements from another.

    It is the sample with the most distinct values; a float input without any two is replaced by
    noise from 0 to 1.
    """
    best = max(samples, key=lambda sample: sum(len(np.unique(value)) for value in sample))
    generator = np.random.Generator(np.random.Philox(0))
    return [
        generator.random(value.shape).astype(value.dtype)
        if value.dtype.kind == "f" and len(np.unique(value)) < 2
        else value
        for value in best
    ]


def refuse_other_numbers(
    by: str, got: Sequence[Array], want: Sequence[Array], reference: str
) -> None:
    """Refuse a conversion that computes something else.

    Raises:
        UnsupportedModel: an output differs by more than `NEAR`.
    """
    if len(got) != len(want):
        count = f"{len(got)} outputs, not {len(want)}"
        raise UnsupportedModel(f"rebuilt for {by} the model has {count}")
    worst = max(difference(one, other) for one, other in zip(got, want, strict=True))
    if worst > NEAR:
        raise UnsupportedModel(
            f"rebuilt for {by} the model computes other numbers than {reference} (off by "
            f"{worst:.2g} of the output's range): it cannot be quantised this way"
        )


def refuse_no_numbers(
    outputs: Sequence[Sequence[Array]], specs: Sequence[TensorSpec], calibration: str
) -> None:
    """Refuse samples for which the float model has no answer.

    Raises:
        UsageError: an output is NaN or infinite; names the sample.
    """
    for index, sample in enumerate(outputs):
        for value, spec in zip(sample, specs, strict=True):
            if not np.isfinite(value).all():
                raise UsageError(
                    f"{calibration}: for sample {index} the float model's output '{spec.name}' is "
                    "NaN or infinite; give samples such as the model was trained on"
                )


class FloatModel(Protocol):
    """A loaded float model."""

    boundary: Boundary
    reference: str  # which implementation `run` is
    remarks: tuple[str, ...]  # what the user should know of the source

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the float outputs of one sample."""
        ...

    def quantise(self, samples: Sequence[Sequence[Array]], activations: Activations) -> bytes:
        """Return a TFLite file with the ranges that `samples` show.

        Raises:
            UnsupportedModel: something in the model has no integer form.
        """
        ...
