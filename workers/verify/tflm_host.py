"""The real TFLM interpreter and memory planner on this machine (PyPI ``tflite-micro``).

It is what a TFLM module runs on the device, compiled for the host: the same kernels, of which the
integer ones give the same bits on every machine.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UnsupportedModel, UsageError

Array = NDArray[Any]

LIBRARY = "tflite_micro"
_DISTRIBUTION = "tflite-micro"
_ALIGNMENT = 16
_SMALLEST = 1 << 10
_LARGEST = 256 << 20


def available() -> bool:
    """Return whether the interpreter is installed."""
    return importlib.util.find_spec(LIBRARY) is not None


def name() -> str:
    """Return ``tflite-micro`` and its version.

    Raises:
        UsageError: it is not installed.
    """
    if not available():
        raise UsageError(f"{_DISTRIBUTION} is not installed: pip install 'tinymlaas[tflm]'")
    return f"{_DISTRIBUTION} {version(_DISTRIBUTION)}"


def _open(data: bytes, arena: int) -> Any:
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(data, arena_size=arena)


def load(data: bytes) -> Any:
    """Return an interpreter of `data` with an arena that is large enough.

    Raises:
        UnsupportedModel: TFLM cannot run the model however large the arena is.
    """
    return _open(data, _ample(data))


def _ample(data: bytes) -> int:
    arena = _SMALLEST
    while not _fits(data, arena):
        arena *= 4
        if arena > _LARGEST:
            raise UnsupportedModel(_complaint(data))
    return arena


def smallest_arena(data: bytes) -> int:
    """Return the smallest arena in bytes, a multiple of 16, in which TFLM can plan `data`.

    Found by bisection over arenas given to the planner, since planning itself needs more than what
    remains in use afterwards. The host's pointers have 8 bytes: a 32-bit core needs less.

    Raises:
        UnsupportedModel: TFLM cannot run the model however large the arena is.
    """
    low, high = 0, _ample(data)
    while high - low > _ALIGNMENT:
        middle = (low + high) // (2 * _ALIGNMENT) * _ALIGNMENT
        if _fits(data, middle):
            high = middle
        else:
            low = middle
    return high


def _fits(data: bytes, arena: int) -> bool:
    try:
        _open(data, arena)
    except RuntimeError:
        return False
    return True


def _complaint(data: bytes) -> str:
    sys.stderr.flush()
    try:
        _open(data, _LARGEST)
    except RuntimeError as error:
        return f"TFLM cannot prepare the model, whatever the arena ({error})"
    return f"TFLM needs an arena of more than {_LARGEST >> 20} MiB"


def run_samples(
    data: bytes, samples: Sequence[Sequence[Array]], outputs: int, arena: int
) -> list[list[Array]]:
    """Return the outputs of `data` for each of `samples`, run in `arena` bytes.

    Variables keep their values from sample to sample, as in a module.

    Raises:
        UnsupportedModel: TFLM cannot prepare or run the model.
    """
    try:
        interpreter = _open(data, arena)
    except RuntimeError as error:
        raise UnsupportedModel(f"TFLM cannot run the model: {error}") from error
    return [run(interpreter, sample, outputs) for sample in samples]


def run(interpreter: Any, inputs: Sequence[Array], outputs: int) -> list[Array]:
    """Return the first `outputs` outputs that a loaded interpreter computes of `inputs`.

    Raises:
        UnsupportedModel: TFLM cannot run the model on them.
    """
    try:
        for index, value in enumerate(inputs):
            interpreter.set_input(value, index)
        interpreter.invoke()
        return [np.array(interpreter.get_output(index)) for index in range(outputs)]
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(f"TFLM cannot run the model: {error}") from error
