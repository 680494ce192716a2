"""Inputs a module is verified on: chosen by the model's digest, hence the same everywhere."""

from __future__ import annotations

import hashlib
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.tensors import DType, TensorSpec

Array = NDArray[Any]

_INDEX_LIMIT = 4
"""int32 and int64 inputs are mostly indices or counts; small ones are valid nearly everywhere."""

# (distribution, scale) by sample, in turn. Unit scales discriminate best, since saturated outputs
# hide errors; the wider ones reach clipping, and uniform ones the range images come in.
_FLOAT_SAMPLES = (("normal", 1.0), ("symmetric", 1.0), ("positive", 1.0), ("normal", 4.0))


def golden_inputs(summary: ModelSummary, count: int, seed: int = 0) -> list[list[Array]]:
    """Return `count` samples, each one array for every input of the model in its order.

    float: normal(0, 1), uniform(−1, 1), uniform(0, 1) and normal(0, 4) by turns; int8, uint8 and
    int16: the whole range, uniformly; int32 and int64: 0 to 3; bool: both. The generator is
    Philox, whose stream NumPy keeps stable, keyed by SHA-256 of the model's digest and `seed`.
    """
    key = hashlib.sha256(f"{summary.digest}/{seed}".encode()).digest()[:16]
    bits = np.random.Philox(key=int.from_bytes(key, "little"))
    return [
        [np.asarray(_values(bits, spec, sample), dtype=spec.dtype.value) for spec in summary.inputs]
        for sample in range(count)
    ]


def _values(bits: np.random.Philox, spec: TensorSpec, sample: int) -> Array:
    match spec.dtype:
        case DType.FLOAT32 | DType.FLOAT16:
            return _floats(bits, spec.shape, sample)
        case DType.BOOL:
            return _integers(bits, 0, 1, spec.shape)
        case DType.INT32 | DType.INT64:
            return _integers(bits, 0, _INDEX_LIMIT - 1, spec.shape)
        case _:
            limits = np.iinfo(spec.dtype.value)
            return _integers(bits, limits.min, limits.max, spec.shape)


def _floats(bits: np.random.Philox, shape: tuple[int, ...], sample: int) -> Array:
    distribution, scale = _FLOAT_SAMPLES[sample % len(_FLOAT_SAMPLES)]
    if distribution == "normal":
        return scale * _normal(bits, shape)
    uniform = _uniform(bits, shape)
    return scale * (2.0 * uniform - 1.0 if distribution == "symmetric" else uniform)


# From here on the raw bit stream and exact arithmetic only: NumPy promises to keep the stream of
# a bit generator, but not that of its distributions.


def _raw(bits: np.random.Philox, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    return np.asarray(bits.random_raw(prod(shape)), dtype=np.uint64).reshape(shape)


def _integers(bits: np.random.Philox, low: int, high: int, shape: tuple[int, ...]) -> Array:
    """Return integers from `low` to `high`, both included."""
    return (_raw(bits, shape) % np.uint64(high - low + 1)).astype(np.int64) + low


def _uniform(bits: np.random.Philox, shape: tuple[int, ...]) -> Array:
    """Return multiples of 2**-24 in [0, 1): exact in float32."""
    return (_raw(bits, shape) >> np.uint64(40)).astype(np.float64) * 2.0**-24


def _normal(bits: np.random.Philox, shape: tuple[int, ...]) -> Array:
    """Return nearly normal values: the sum of 12 uniforms less 6 has variance 1 (Irwin-Hall)."""
    return np.asarray(sum(_uniform(bits, shape) for _ in range(12)) - 6.0)
