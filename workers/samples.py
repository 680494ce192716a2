"""Samples from an ``.npz`` file: arrays by input name (or one array ``x``), perhaps ``labels``."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.tensors import TensorSpec
from workers.verify.quantising import quantised

Array = NDArray[Any]
LABELS = "labels"
_ANONYMOUS = "x"
MAX_SAMPLES_BYTES = 1 << 30


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
    arrays = _arrays(data, name)
    labels = _labels(arrays.pop(LABELS, None), name)
    stacked = [_input(arrays, spec, len(specs), name) for spec in specs]
    counts = {len(array) for array in stacked} | ({len(labels)} if labels is not None else set())
    if len(counts) != 1:
        raise UsageError(f"{name}: its arrays hold different numbers of samples: {sorted(counts)}")
    count = counts.pop() if limit is None else min(counts.pop(), limit)
    if count == 0:
        raise UsageError(f"{name}: holds no samples")
    samples = [[array[index] for array in stacked] for index in range(count)]
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
    labelled(_labels(_arrays(data, name).get(LABELS), name), name)


def accuracy(outputs: Sequence[Array], labels: Array | None) -> float | None:
    """Return the share of samples whose largest output has the label's index; None if no labels."""
    if labels is None:
        return None
    right = sum(
        int(np.argmax(out)) == int(label) for out, label in zip(outputs, labels, strict=True)
    )
    return right / len(outputs)


def _arrays(data: bytes, name: str) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_SAMPLES_BYTES:
                raise UsageError(f"{name}: holds more than {MAX_SAMPLES_BYTES >> 30} GiB")
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except UsageError:
        raise
    except Exception as error:  # whatever zlib, zipfile and numpy trip over is the file's fault
        raise UsageError(f"{name}: cannot be read as .npz: {error}") from None
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy hands over as bytes what is no .npy
            raise UsageError(f"{name}: its member {key!a} is no array as numpy.savez writes them")
    return arrays


def _labels(labels: Array | None, name: str) -> Array | None:
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise UsageError(
            f"{name}: '{LABELS}' must hold one integer a sample, not {labels.dtype} of shape "
            f"{labels.shape}"
        )
    return labels


def _input(arrays: dict[str, Array], spec: TensorSpec, inputs: int, name: str) -> Array:
    array = arrays.get(spec.name)
    if array is None and inputs == 1:
        array = arrays.get(_ANONYMOUS)
    if array is None:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise UsageError(f"{name}: has no array '{spec.name}' (it has {found})")
    wanted = np.dtype(spec.dtype.value)
    numeric = array.dtype.kind in "fiu"
    real = spec.quantization is not None and array.dtype != wanted and numeric
    if array.dtype != wanted and not real and not (wanted.kind == "f" and numeric):
        raise UsageError(f"{name}: array '{spec.name}' is {array.dtype}, the input is {wanted}")
    if array.ndim == 0 or (len(array) and array[:1].size != spec.size):
        shape = "×".join(map(str, spec.shape))
        raise UsageError(
            f"{name}: a sample of '{spec.name}' has shape {array.shape[1:]}, the input {shape}"
        )
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
