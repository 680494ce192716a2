"""The two byte streams between us and the harness (`harness/harness_streams.c` has the format)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinymlaas.contract.tensors import TensorSpec

Array = npt.NDArray[np.generic]
Sample = Sequence[Array]

_MEASUREMENT = struct.Struct("<iIII")
STACK_UNKNOWN = 0xFFFFFFFF


class BrokenStream(Exception):
    """The harness wrote less than a whole answer."""


@dataclass(frozen=True)
class Measurement:
    """One measured call: its status, elapsed counter ticks, and stack depth in bytes."""

    status: int
    fine: int
    coarse: int
    stack: int

    @property
    def count(self) -> int:
        """The difference of one 64-bit counter, where both are its halves."""
        return self.coarse << 32 | self.fine


@dataclass(frozen=True)
class Answer:
    """What the harness wrote: an empty call, init, and per sample a measurement and outputs."""

    empty: Measurement
    init: Measurement
    samples: tuple[Measurement, ...]
    outputs: tuple[tuple[Array, ...], ...]


def encode(
    samples: Sequence[Sample], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> bytes:
    """Return the input stream for `samples`.

    Raises:
        ValueError: an array has not the shape or dtype of its tensor.
    """
    parts = [struct.pack("<III", len(samples), len(inputs), len(outputs))]
    sizes = struct.pack(f"<{len(outputs)}I", *(spec.nbytes for spec in outputs))
    for sample in samples:
        for data in raw(sample, inputs):
            parts += [struct.pack("<I", len(data)), data]
        parts.append(sizes)
    return b"".join(parts)


def raw(sample: Sample, inputs: Sequence[TensorSpec]) -> list[bytes]:
    """Return the bytes of each array of `sample` as a module has them.

    Raises:
        ValueError: an array has not the shape or dtype of its tensor.
    """
    found = []
    for spec, array in zip(inputs, sample, strict=True):
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype.value):
            raise ValueError(
                f"{spec.name} is {spec.dtype.value}{list(spec.shape)}, "
                f"not {array.dtype}{list(array.shape)}"
            )
        found.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return found


def decode(stream: bytes, samples: int, outputs: Sequence[TensorSpec]) -> Answer:
    """Return what the harness wrote for `samples` samples.

    Raises:
        BrokenStream: the stream is longer or shorter than that.
    """
    size = sum(spec.nbytes for spec in outputs)
    if len(stream) != (2 + samples) * _MEASUREMENT.size + samples * size:
        raise BrokenStream(f"{len(stream)} bytes")
    measurements, found, at = [], [], 0
    for index in range(2 + samples):
        measurements.append(Measurement(*_MEASUREMENT.unpack_from(stream, at)))
        at += _MEASUREMENT.size
        if index >= 2:
            found.append(arrays(stream, at, outputs))
            at += size
    return Answer(measurements[0], measurements[1], tuple(measurements[2:]), tuple(found))


def arrays(stream: bytes, at: int, outputs: Sequence[TensorSpec]) -> tuple[Array, ...]:
    """Return one array for each of `outputs`, whose bytes follow each other from `at`."""
    found = []
    for spec in outputs:
        dtype = np.dtype(spec.dtype.value)
        flat = np.frombuffer(stream, dtype.newbyteorder("<"), spec.size, at)
        found.append(flat.astype(dtype).reshape(spec.shape))
        at += spec.nbytes
    return tuple(found)
