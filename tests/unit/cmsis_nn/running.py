"""Run a TFLite model twice: by TFLM's own interpreter, and as our C on this machine."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tinymlaas.contract.device import CapabilityClass, Core
from workers.compilers.cmsis_nn.build import Built, build
from workers.compilers.cmsis_nn.switches import OPTIONS, parse

ALL_OFF = {name: "off" for name, allowed in OPTIONS.items() if allowed == ("on", "off")}
HOST = CapabilityClass(core=Core.HOST)
_ARENA = 4 << 20


class Oracle:
    """The real TFLM interpreter."""

    def __init__(self, data: bytes) -> None:
        package = pytest.importorskip(
            "tflite_micro", reason="the oracle (PyPI tflite-micro) is not installed"
        )
        self.interpreter = package.runtime.Interpreter.from_bytes(data, arena_size=_ARENA)

    def run(self, inputs: Sequence[np.ndarray], outputs: int) -> list[np.ndarray]:
        for number, value in enumerate(inputs):
            self.interpreter.set_input(value, number)
        self.interpreter.invoke()
        return [np.array(self.interpreter.get_output(number)) for number in range(outputs)]


class Module:
    """A module built with the host's compiler and called in this process."""

    def __init__(self, built: Built, folder: Path, flags: Sequence[str] = ("-O1",)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        source, library = folder / "model.c", folder / "model.so"
        source.write_text(built.source)
        command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing"]
        command += [*flags, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
        subprocess.run(command, check=True)
        self.library = ctypes.CDLL(str(library))
        self.built = built
        # a guard behind the arena shows writes past its end
        self.raw = np.full(built.layout.size + 128, 0xA5, np.uint8)
        self.start = -self.raw.ctypes.data % 16
        self.arena = self.raw[self.start : self.start + built.layout.size]
        self.arena[:] = np.random.default_rng(7).integers(0, 256, self.arena.size)
        if built.init:
            assert self._call(built.init) == 0

    def _call(self, name: str) -> int:
        return getattr(self.library, name)(ctypes.c_void_p(self.arena.ctypes.data))

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        program, layout = self.built.program, self.built.layout
        for number, value in zip(program.inputs, inputs, strict=True):
            start = layout.values[number]
            self.arena[start : start + value.nbytes] = np.frombuffer(value.tobytes(), np.uint8)
        assert self._call("m_run") == 0
        assert (self.raw[: self.start] == 0xA5).all()
        assert (self.raw[self.start + layout.size :] == 0xA5).all()
        results = []
        for number in program.outputs:
            value, start = program.values[number], layout.values[number]
            data = self.arena[start : start + value.nbytes].tobytes()
            results.append(np.frombuffer(data, value.dtype.value).reshape(value.shape))
        return results


def compiled(
    data: bytes,
    folder: Path,
    options: Mapping[str, str] | None = None,
    target: CapabilityClass = HOST,
) -> Module:
    """Compile `data` and load the module."""
    return Module(build(data, "m_run", target, parse(options or {})), folder)


def assert_equal(got: Sequence[np.ndarray], want: Sequence[np.ndarray], note: str = "") -> None:
    """Compare outputs bit for bit."""
    for number, (a, b) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(a, b.reshape(a.shape), err_msg=f"output {number} {note}")
