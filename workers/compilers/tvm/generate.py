"""From model bytes to C source: every stage in order, every refusal with a reason."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from workers.compilers.tvm import blame, importer
from workers.compilers.tvm.cexpr import AVR, STANDARD, NoCodeError
from workers.compilers.tvm.emit import emit_c, used_constants
from workers.compilers.tvm.hybrid import CFLAGS
from workers.compilers.tvm.kernel import make_kernel
from workers.compilers.tvm.layout import Layout, lay_out
from workers.compilers.tvm.lower import lower
from workers.compilers.tvm.objects import emit_object
from workers.compilers.tvm.pipeline import fuse
from workers.compilers.tvm.program import Program, read_program
from workers.compilers.tvm.schedule import schedule

if TYPE_CHECKING:
    import tvm

_OBJECT_ONLY = (Core.MSP430,)
_ALIGNMENT = 16


@dataclass(frozen=True)
class Generated:
    """What was made of a model: C text or an ELF object with the function `entry`, and where its
    tensors lie.

    `cflags` are compiler flags that its numbers rely on.
    """

    program: Program
    layout: Layout
    entry: str
    source: str = ""
    obj: bytes = b""
    cflags: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants in the source."""
        return sum(buffer.nbytes for _, buffer in used_constants(self.program))


def generate(
    data: bytes,
    fmt: ModelFormat,
    target: CapabilityClass,
    name: str = "model",
    options: Mapping[str, str] | None = None,
) -> Generated:
    """Return code for the model in `data`, its external symbols beginning with `name`: C, or for
    cores without a C compiler an object.

    Raises:
        UnsupportedModel: it cannot be compiled; the reason names the operators.
    """

    def build(load: Callable[[], tvm.IRModule]) -> Generated:
        return _build(load(), target, name, options or {})

    with contextlib.redirect_stdout(sys.stderr):  # TVM's importers print
        if fmt == ModelFormat.TFLITE:
            try:
                return build(lambda: importer.from_tflite(data))
            except Exception as error:
                raise _refusal(error, blame.tflite_operators(data)) from error
        model = importer.prepare_onnx(data)
        try:
            return build(lambda: importer.from_onnx(model))
        except Exception as error:
            operators = blame.onnx_operators(model, lambda m: build(lambda: importer.from_onnx(m)))
            raise _refusal(error, operators) from error


def _build(
    mod: tvm.IRModule, target: CapabilityClass, name: str, options: Mapping[str, str]
) -> Generated:
    cflags = tuple(str((mod.attrs or {}).get(CFLAGS, "")).split())
    mod = schedule(fuse(mod), target, dict(options))
    program = read_program(mod)
    as_object = target.core in _OBJECT_ONLY
    functions = lower(mod)
    dialect = AVR if target.core == Core.AVR else STANDARD
    kernels = {
        used: make_kernel(_kernel_name(number, used), functions[used], dialect)
        for number, used in enumerate(dict.fromkeys(call.kernel for call in program.calls))
    }
    layout = lay_out(program, kernels, _ALIGNMENT)
    entry = f"{name}_run"
    parts = (entry, program, kernels, layout)
    if as_object:
        return Generated(program, layout, entry, obj=emit_object(*parts, functions))
    return Generated(program, layout, entry, source=emit_c(*parts), cflags=cflags)


def _kernel_name(number: int, name: str) -> str:
    return f"k{number}_{re.sub(r'[^A-Za-z0-9]+', '_', name)[:40].strip('_')}"


def _refusal(error: Exception, operators: Iterable[str]) -> UnsupportedModel:
    """Return the one-line reason for an exception out of a stage."""
    if isinstance(error, UnsupportedModel):
        return error
    names = ", ".join(operators)
    if isinstance(error, NoCodeError):
        return UnsupportedModel(f"{names}: {error}")
    text: Any = str(error).strip().splitlines() or [""]
    return UnsupportedModel(
        f"{names}: TVM cannot compile it ({type(error).__name__}: {text[0][:200]})"
    )
