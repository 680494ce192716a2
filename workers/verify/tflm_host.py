"""The real TFLM interpreter and memory planner on this machine (PyPI ``tflite-micro``).

It is what a TFLM module runs on the device, compiled for the host: the same kernels, of which the
integer ones give the same bits on every machine.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import os
import resource
import signal
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UnsupportedModel, UsageError

Array = NDArray[Any]

LIBRARY = "tflite_micro"
DISTRIBUTION = "tflite-micro"
_ALIGNMENT = 16
_SMALLEST = 1 << 10
_LARGEST = 256 << 20
_MOST_SAID = 400


def available() -> bool:
    """Return whether the interpreter is installed."""
    return importlib.util.find_spec(LIBRARY) is not None


def name() -> str:
    """Return ``tflite-micro`` and its version.

    Raises:
        UsageError: it is not installed.
    """
    if not available():
        raise UsageError(f"{DISTRIBUTION} is not installed: pip install 'tinymlaas[tflm]'")
    return f"{DISTRIBUTION} {version(DISTRIBUTION)}"


def _open(data: bytes, arena: int, *, preserve: bool = False) -> Any:
    from tflite_micro import runtime

    kinds = runtime.InterpreterConfig
    kind = kinds.kPreserveAllTensors if preserve else kinds.kAllocationRecording
    return runtime.Interpreter.from_bytes(data, arena_size=arena, intrepreter_config=kind)


def load(data: bytes, *, preserve: bool = False) -> Any:
    """Return an interpreter of `data` with an arena that is surely large enough.

    One that is to `preserve` gives no tensor the memory of another, so that `tensors` can be asked.

    Raises:
        UnsupportedModel: TFLM cannot prepare the model however large the arena is.
    """
    _refuse_unpreparable(data)
    return _open(data, _LARGEST, preserve=preserve)


def tensors(interpreter: Any, numbers: Sequence[int]) -> list[Array]:
    """Return tensors of the first subgraph after the last run of a preserving interpreter."""
    return [np.array(interpreter.GetTensor(number, 0)["tensor_data"]) for number in numbers]


def smallest_arena(data: bytes) -> int:
    """Return the smallest arena in bytes, a multiple of 16, in which TFLM can plan `data`.

    Found by bisection over arenas given to the planner, since planning itself needs more than what
    remains in use afterwards. The host's pointers have 8 bytes: a 32-bit core needs less.

    Raises:
        UnsupportedModel: TFLM cannot prepare the model however large the arena is.
    """
    _refuse_unpreparable(data)
    low, high = 0, _SMALLEST
    while _complaint(data, high) is not None:
        low, high = high, 4 * high
    while high - low > _ALIGNMENT:
        middle = (low + high) // (2 * _ALIGNMENT) * _ALIGNMENT
        if _complaint(data, middle) is None:
            high = middle
        else:
            low = middle
    return high


def resource_variables(data: bytes) -> int:
    """Return how many resource variables TFLM has to make room for."""
    from tflite_micro import runtime

    return int(runtime.count_resource_variables(data))


def _refuse_unpreparable(data: bytes) -> None:
    complaint = _complaint(data, _LARGEST)
    if complaint is not None:
        raise UnsupportedModel(f"TFLM cannot prepare the model: {complaint}")


def _complaint(data: bytes, arena: int) -> str | None:
    """Return what TFLM says against planning `data` in `arena` bytes, None if it can.

    Tried in a fork: where an arena is too small some kernels write to a null pointer (a fully
    connected layer with one scale a channel does), which would take us with it.
    """
    import tflite_micro  # noqa: F401 - once here instead of in every fork

    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            _try(data, arena, said.fileno())
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return None
        if os.WIFSIGNALED(status):
            return f"it ends with {signal.Signals(os.WTERMSIG(status)).name}"
        said.seek(0)
        lines = said.read(_MOST_SAID).decode(errors="replace").splitlines()
    return "; ".join(line.strip() for line in lines if line.strip()) or "it says no reason"


def _try(data: bytes, arena: int, said: int) -> NoReturn:
    """End this process, a fork: with status 0 if TFLM can plan `data` in `arena` bytes."""
    status = 1
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        _open(data, arena)
        status = 0
    finally:
        os._exit(status)


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
