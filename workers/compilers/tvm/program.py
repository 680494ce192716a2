"""A fused Relax ``main`` as a flat list of kernel calls over numbered buffers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from workers.compilers.tvm.cexpr import ITEMSIZE, NoCodeError, c_type

if TYPE_CHECKING:
    import numpy.typing as npt
    import tvm

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Buffer:
    """One piece of memory: `constant` is its read-only content, None if it is in the arena."""

    nbytes: int
    dtype: str
    constant: Array | None = None


@dataclass(frozen=True)
class Call:
    """One step: `kernel` (a name in the module) on buffers by number, inputs before outputs."""

    kernel: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """All steps in order. A buffer is never written twice. `copies` are (source, destination)
    done after the last step, for outputs that are a constant, an input or another output.
    """

    buffers: tuple[Buffer, ...]
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    copies: tuple[tuple[int, int], ...]


def read_program(mod: tvm.IRModule) -> Program:
    """Return the program of ``main`` in `mod`, which `pipeline.fuse` has made.

    Raises:
        NoCodeError: ``main`` holds something else than kernel calls, reshapes and tuples.
    """
    return _Reader().read(mod["main"])


# A value of Relax: a buffer's number, or a tuple of such values.
_Value = Any


class _Reader:
    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._calls: list[Call] = []
        self._env: dict[Any, _Value] = {}
        self._constants: dict[tuple[str, bytes], int] = {}

    def read(self, main: Any) -> Program:
        for param in main.params:
            self._env[param] = self._new(param.ty)
        inputs = [self._env[param] for param in main.params]
        for block in main.body.blocks:
            for binding in block.bindings:
                self._env[binding.var] = self._value(binding.value, binding.var)
        result = self._value(main.body.body, None)
        flat = _flatten(result)
        outputs, copies = self._outputs(flat, set(inputs))
        return Program(
            tuple(self._buffers), tuple(self._calls), tuple(inputs), outputs, tuple(copies)
        )

    def _outputs(
        self, flat: list[int], inputs: set[int]
    ) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """Give every output its own writable memory."""
        outputs: list[int] = []
        copies: list[tuple[int, int]] = []
        for number in flat:
            source = self._buffers[number]
            if source.constant is not None or number in inputs or number in outputs:
                self._buffers.append(Buffer(source.nbytes, source.dtype))
                copies.append((number, len(self._buffers) - 1))
                outputs.append(len(self._buffers) - 1)
            else:
                outputs.append(number)
        return tuple(outputs), copies

    def _new(self, ty: Any) -> int:
        """Add an arena buffer for a tensor type."""
        shape = static_shape(ty)
        dtype = str(ty.dtype)
        c_type(dtype)
        self._buffers.append(Buffer(prod(shape) * ITEMSIZE[dtype], dtype))
        return len(self._buffers) - 1

    def _constant(self, array: Array) -> int:
        """Add a read-only buffer, one for all constants with the same bytes and type."""
        dtype = str(array.dtype)
        c_type(dtype)
        key = (dtype, array.tobytes())
        if key not in self._constants:
            self._constants[key] = len(self._buffers)
            self._buffers.append(Buffer(array.nbytes, dtype, array.reshape(-1)))
        return self._constants[key]

    def _value(self, expr: Any, var: Any) -> _Value:
        kind = type(expr).__name__
        if expr in self._env:
            return self._env[expr]
        if kind == "Tuple":
            return tuple(self._value(field, None) for field in expr.fields)
        if kind == "TupleGetItem":
            return self._value(expr.tuple_value, None)[expr.index]
        if kind == "GenericConst":
            return self._constant(expr.value.numpy())
        if kind == "Call":
            return self._call(expr, var)
        raise NoCodeError(f"needs a Relax {kind} expression, which has no C form here")

    def _call(self, expr: Any, var: Any) -> _Value:
        op = str(getattr(expr.op, "name", expr.op))
        if op == "relax.call_tir":
            return self._call_tir(expr, var)
        if op == "relax.reshape":
            return self._value(expr.args[0], None)
        raise NoCodeError(f"uses the operation {op}, for which there are no loops")

    def _call_tir(self, expr: Any, var: Any) -> _Value:
        inputs = _flatten(self._value(expr.args[1], None))
        ty = var.ty
        fields = list(ty.fields) if hasattr(ty, "fields") else [ty]
        outputs = [self._new(field) for field in fields]
        self._calls.append(Call(str(expr.args[0].name_hint), tuple(inputs), tuple(outputs)))
        return tuple(outputs) if hasattr(ty, "fields") else outputs[0]


def static_shape(ty: Any) -> tuple[int, ...]:
    """Return the shape of a Relax tensor type.

    Raises:
        NoCodeError: it is not a tensor, or a dimension is only known at run time.
    """
    values = getattr(getattr(ty, "shape", None), "values", None)
    if values is None or not all(hasattr(dim, "value") for dim in values):
        raise NoCodeError("has a tensor whose shape is only known at run time")
    return tuple(int(dim.value) for dim in values)


def _flatten(value: _Value) -> list[int]:
    if isinstance(value, tuple):
        return [number for item in value for number in _flatten(item)]
    return [value]
