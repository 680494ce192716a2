"""Golden vectors: the inputs a module was proven with and the reference's outputs.

In the archive a tensor is one file of raw little-endian elements, row-major, all samples one after
the other (``verify/input_0.bin``); ``verify/golden.json`` says name, dtype and shape. Firmware can
use the files as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from storage import strict_json
from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import Failure, VerificationError
from tinymlaas.contract.tensors import DType, TensorSpec

GOLDEN_INDEX = "verify/golden.json"
_FORMAT = 1

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Golden:
    """Input and output tensors in the module's order, each of shape (samples, *tensor shape)."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    @property
    def samples(self) -> int:
        """Number of samples (the same for every tensor; 0 for a module without tensors)."""
        return next((len(array) for array in (*self.inputs, *self.outputs)), 0)


class _Vector(Model):
    """One tensor's file; `shape` is that of one sample."""

    name: str
    dtype: DType
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    file: str


class _Index(Model):
    """``verify/golden.json``."""

    format: Annotated[int, Field(ge=_FORMAT, le=_FORMAT)] = _FORMAT
    samples: Annotated[int, Field(ge=0)]
    inputs: tuple[_Vector, ...]
    outputs: tuple[_Vector, ...]


def encode_golden(
    golden: Golden, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> dict[str, bytes]:
    """Return the archive members (path → bytes) of `golden` for tensors of these specs.

    Raises:
        Failure: a tensor's number, dtype or shape is not what its spec says.
    """
    members: dict[str, bytes] = {}
    vectors: dict[str, tuple[_Vector, ...]] = {}
    sides = (("input", golden.inputs, inputs), ("output", golden.outputs, outputs))
    for side, arrays, specs in sides:
        if len(arrays) != len(specs):
            raise Failure(f"{len(arrays)} golden {side}s for a module of {len(specs)}")
        made = []
        for i, (array, spec) in enumerate(zip(arrays, specs, strict=True)):
            file = f"verify/{side}_{i}.bin"
            members[file] = _raw(array, spec, golden.samples)
            made.append(_Vector(name=spec.name, dtype=spec.dtype, shape=spec.shape, file=file))
        vectors[side] = tuple(made)
    index = _Index(samples=golden.samples, inputs=vectors["input"], outputs=vectors["output"])
    members[GOLDEN_INDEX] = canonical_json(index.model_dump(mode="json")) + b"\n"
    return members


def decode_golden(members: Mapping[str, bytes]) -> Golden:
    """Return the golden vectors among an archive's `members`; further members do not matter.

    Raises:
        VerificationError: the index is missing or malformed, or a file has not the size it says.
    """
    data = members.get(GOLDEN_INDEX)
    if data is None:
        raise VerificationError(f"the archive has no {GOLDEN_INDEX}: it cannot be run again")
    try:
        index = _Index.model_validate(strict_json.loads(data, GOLDEN_INDEX))
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise VerificationError(f"{GOLDEN_INDEX} is malformed: {reason}") from None
    return Golden(
        tuple(_array(members, vector, index.samples) for vector in index.inputs),
        tuple(_array(members, vector, index.samples) for vector in index.outputs),
    )


def samples_of(tensors: Sequence[Array], count: int) -> list[list[Array]]:
    """Return `count` samples, each a list of arrays, of tensors stacked over the samples."""
    return [[tensor[index] for tensor in tensors] for index in range(count)]


def _stored(dtype: DType) -> np.dtype[Any]:
    return np.dtype(dtype.value).newbyteorder("<")


def _raw(array: Array, spec: TensorSpec, samples: int) -> bytes:
    shape = (samples, *spec.shape)
    if array.dtype != np.dtype(spec.dtype.value) or array.shape != shape:
        raise Failure(
            f"golden tensor {spec.name!a} is {array.dtype} {array.shape}, "
            f"not {spec.dtype.value} {shape}"
        )
    return array.astype(_stored(spec.dtype), order="C").tobytes()


def _array(members: Mapping[str, bytes], vector: _Vector, samples: int) -> Array:
    raw = members.get(vector.file)
    if raw is None:
        raise VerificationError(f"the archive lacks the golden file {vector.file[:100]!a}")
    size = samples * prod(vector.shape) * vector.dtype.itemsize
    if len(raw) != size:
        raise VerificationError(
            f"golden file {vector.file[:100]!a} has {len(raw)} bytes, not {size}"
        )
    try:
        array: Array = np.ndarray((samples, *vector.shape), _stored(vector.dtype), raw)
    except ValueError as error:  # more dimensions or elements than numpy has
        raise VerificationError(f"{GOLDEN_INDEX} is malformed: {error}") from None
    return array.astype(vector.dtype.value)  # native byte order, writable, a copy
