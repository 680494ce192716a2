"""Samples from an ``.npz`` file: arrays by input name (or one array ``x``), perhaps ``labels``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.tensors import TensorSpec
from workers.npz import LIMITS, Npz
from workers.verify.quantising import quantised

Array = NDArray[Any]
LABELS = "labels"
_ANONYMOUS = "x"
MAX_SAMPLES_BYTES = LIMITS.unpacked_bytes


@dataclass(frozen=True)
class Samples:
    """Samples, each one array an input of the input's shape; `labels` has one class a sample."""

    samples: list[list[Array]]
    labels: Array | None


def load_samples(
    data: bytes, name: str, specs: Sequence[TensorSpec], limit: int | None = None
) -> Samples:
    """Read the first `limit` samples of an npz for inputs of `specs`.

    Every array has the samples along its first dimension. Those of a quantised input are taken as
    stored if they have its type, else as the real numbers to quantise. Pickled objects are refused,
    and numbers that are not finite as the input's type.

    Raises:
        UsageError: it is no npz, lacks an input, shapes or types do not go with `specs`, or an
            array holds NaN, infinity or what becomes that.
    """
    arrays = Npz(data, name)
    labels = _labels(arrays.get(LABELS), name)
    stacked = [_chosen(arrays, spec, len(specs), name) for spec in specs]
    counts = {len(array) for array in stacked} | ({len(labels)} if labels is not None else set())
    if len(counts) != 1:
        raise UsageError(f"{name}: its arrays hold different numbers of samples: {sorted(counts)}")
    count = counts.pop() if limit is None else min(counts.pop(), limit)
    if count == 0:
        raise UsageError(f"{name}: holds no samples")
    # What is not wanted is not converted either: bytes grow to eight times their size by it.
    numbers = [
        _numbers(array[:count], spec, name) for array, spec in zip(stacked, specs, strict=True)
    ]
    samples = [[array[index] for array in numbers] for index in range(count)]
    return Samples(samples, None if labels is None else labels[:count])


def labelled(labels: Array | None, name: str) -> Array:
    """Return the labels; raises `UsageError` if there are none."""
    if labels is None:
        raise UsageError(f"{name}: has no array 'labels', so nothing can be judged right or wrong")
    return labels


def check_labelled(data: bytes, name: str) -> None:
    """Refuse what can be labelled samples of no model, where there is no model yet to go by.

    Raises:
        UsageError: it is no npz, or has no labels or other ones than integers.
    """
    labelled(_labels(Npz(data, name).get(LABELS), name), name)


def accuracy(outputs: Sequence[Array], labels: Array | None) -> float | None:
    """Return the share of samples whose largest output has the label's index; None if no labels."""
    if labels is None:
        return None
    right = sum(
        int(np.argmax(out)) == int(label) for out, label in zip(outputs, labels, strict=True)
    )
    return right / len(outputs)


def _labels(labels: Array | None, name: str) -> Array | None:
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise UsageError(
            f"{name}: '{LABELS}' must hold one integer a sample, not {labels.dtype} of shape "
            f"{labels.shape}"
        )
    return labels


def _chosen(arrays: Npz, spec: TensorSpec, inputs: int, name: str) -> Array:
    """Return the array of an input as it is stored, once type and shape go with the input's."""
    array = arrays.get(spec.name)
    if array is None and inputs == 1:
        array = arrays.get(_ANONYMOUS)
    if array is None:
        found = ", ".join(sorted(set(arrays.names) - {LABELS})) or "nothing"
        raise UsageError(f"{name}: has no array '{spec.name}' (it has {found})")
    wanted = np.dtype(spec.dtype.value)
    convertible = array.dtype.kind in "fiu" and (wanted.kind == "f" or spec.quantization)
    if array.dtype != wanted and not convertible:
        raise UsageError(f"{name}: array '{spec.name}' is {array.dtype}, the input is {wanted}")
    if array.ndim == 0 or (len(array) and array[:1].size != spec.size):
        shape = "×".join(map(str, spec.shape))
        raise UsageError(
            f"{name}: a sample of '{spec.name}' has shape {array.shape[1:]}, the input {shape}"
        )
    return array


def _numbers(array: Array, spec: TensorSpec, name: str) -> Array:
    """Return samples as the input takes them, each of its shape."""
    wanted = np.dtype(spec.dtype.value)
    real = spec.quantization is not None and array.dtype != wanted
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as that
        numbers = array.astype(np.float64 if real else wanted)
    _check_finite(numbers, spec, name)
    return (quantised(numbers, spec) if real else numbers).reshape(len(array), *spec.shape)


def _check_finite(array: Array, spec: TensorSpec, name: str) -> None:
    if array.dtype.kind != "f":
        return
    for index, sample in enumerate(array):
        if not np.isfinite(sample).all():
            raise UsageError(
                f"{name}: sample {index} of '{spec.name}' holds NaN or infinity, or a number "
                f"beyond {array.dtype}"
            )
