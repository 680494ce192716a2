"""C text pieces: a kernel with the library files it needs, arrays and structs as literals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workers.compilers.cmsis_nn.graph import Array
from workers.compilers.cmsis_nn.special.layers import Constant, KernelCode

_CTYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
}
_PER_LINE = 20


CONTEXT = "const cmsis_nn_context ctx = {scratch, 0};"


@dataclass(frozen=True, eq=False)
class Code:
    """A layer's C function, and the files of the kernel library it calls.

    Arm's kernels may need scratch: `declarations` are the structs of the call, over which `sizer`
    is the C expression of its size, ``{core}`` standing for the suffix of a kind of core. `sums`
    is a statement that must run before the call where vectors sum weights beforehand.
    """

    kernel: KernelCode
    library: tuple[str, ...] = ()
    declarations: tuple[str, ...] = ()
    sizer: str = ""
    sums: str = ""

    def with_scratch(self, size: int, *, sums: bool) -> Code:
        """Return the same call with `size` bytes of scratch, preceded by its sums if wanted."""
        context = CONTEXT.replace("0}", f"{size}}}")
        if sums and self.sums:
            context = f"{context}\n  {self.sums}"
        source = self.kernel.source.replace(CONTEXT, context)
        return replace(self, kernel=replace(self.kernel, source=source, scratch_bytes=size))


def constant(name: str, data: Array) -> Constant:
    """Return the read-only array `name` of `data`."""
    return Constant(name, _CTYPES[str(data.dtype)], np.ascontiguousarray(data).reshape(-1))


def define(array: Constant) -> str:
    """Return the C definition of `array`, aligned to 4 bytes so that words can be loaded."""
    values = [_literal(v) for v in array.data.reshape(-1)] or ["0"]
    lines = [",".join(values[i : i + _PER_LINE]) for i in range(0, len(values), _PER_LINE)]
    body = ",\n".join(lines)
    aligned = "" if array.data.dtype.itemsize >= 4 else " __attribute__((aligned(4)))"
    return f"static const {array.ctype} {array.name}[{len(values)}]{aligned} = {{\n{body}}};\n"


def _literal(value: Any) -> str:
    if isinstance(value, np.floating):
        return _float(float(value))
    number = int(value)
    if number == -(1 << 31):
        return "INT32_MIN"
    if number == -(1 << 63):
        return "INT64_MIN"
    if value.dtype.itemsize == 8:
        return f"INT64_C({number})"
    return str(number)


def _float(value: float) -> str:
    if value != value:  # noqa: PLR0124 - NaN
        return "(0.0f/0.0f)"
    if value in (float("inf"), float("-inf")):
        return "(1.0f/0.0f)" if value > 0 else "(-1.0f/0.0f)"
    return f"{value.hex()}f"


def braces(*values: object) -> str:
    """Return a C initialiser list."""
    return "{" + ", ".join(str(value) for value in values) + "}"


def function(
    name: str, body: Iterable[str], inputs: int = 1, outputs: int = 1, used: Iterable[str] = ()
) -> str:
    """Return a static C function over `inputs` and `outputs` byte pointers and scratch.

    The parameters are ``in`` (or ``in``, ``in2``, ``in3`` …), ``out`` (likewise) and ``scratch``;
    those of `used` are mentioned in the body, the others are marked unused.
    """
    names = parameter_names(inputs, outputs)
    text = ", ".join([f"const int8_t *{n}" for n in names[0]] + [f"int8_t *{n}" for n in names[1]])
    known = set(used)
    unused = [n for n in (*names[0], *names[1], "scratch") if n not in known]
    lines = [f"(void){n};" for n in unused] + list(body)
    inner = "".join(f"  {line}\n" for line in lines)
    comma = ", " if text else ""
    return f"static void {name}({text}{comma}uint8_t *scratch) {{\n{inner}}}\n"


def parameter_names(inputs: int, outputs: int) -> tuple[list[str], list[str]]:
    """Return the parameter names of `function`."""
    first = [f"in{i + 1}" if i else "in" for i in range(inputs)]
    second = [f"out{i + 1}" if i else "out" for i in range(outputs)]
    return first, second
