"""Compiles generated C for this machine and runs it in this process."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workers.compilers.tvm.generate import Generated

Array = npt.NDArray[np.generic]

_GUARD = 0xA5
_GUARD_BYTES = 4096
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-maybe-uninitialized")


def run(
    made: Generated, inputs: Sequence[Array], folder: Path, *, compiler: str = "gcc"
) -> list[Array]:
    """Return the outputs of `made` on `inputs`; flat arrays of the outputs' own types.

    Warnings are errors, and so is a write behind the arena.
    """
    # A library of a name that is loaded already would not be loaded again.
    folder = Path(tempfile.mkdtemp(dir=folder))
    if made.obj:
        source = folder / "model.o"
        source.write_bytes(made.obj)
        command = ["gcc", "-shared", str(source), "-Wl,-z,notext"]
    else:
        source = folder / "model.c"
        source.write_text(made.source)
        flags = ["-fno-strict-aliasing", *made.cflags]
        command = ["gcc", *STRICT, *flags, "-O1", "-shared", "-fPIC", str(source)]
    library = folder / "model.so"
    subprocess.run([*command, "-o", str(library), "-lm"], check=True)
    entry = getattr(ctypes.CDLL(str(library)), made.entry)
    entry.restype = ctypes.c_int32
    memory = np.full(made.layout.size + _GUARD_BYTES, _GUARD, np.uint8)
    arena = memory[-memory.ctypes.data % made.layout.alignment :]
    for number, values in zip(made.program.inputs, inputs, strict=True):
        raw = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        assert raw.nbytes == made.program.buffers[number].nbytes
        offset = made.layout.buffers[number]
        arena[offset : offset + raw.nbytes] = raw
    assert entry(ctypes.c_void_p(arena.ctypes.data)) == 0
    assert (arena[made.layout.size :] == _GUARD).all(), "wrote behind the arena"
    return [_read(made, arena, number) for number in made.program.outputs]


def _read(made: Generated, arena: npt.NDArray[np.uint8], number: int) -> Array:
    buffer, offset = made.program.buffers[number], made.layout.buffers[number]
    raw = arena[offset : offset + buffer.nbytes].tobytes()
    return np.frombuffer(raw, np.dtype(buffer.dtype))
