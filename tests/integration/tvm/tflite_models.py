"""Builds small TFLite models in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Tensor:
    """A tensor: `data` makes it a constant, `scale` makes it quantised."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    data: Array | None = None
    scale: float | None = None
    zero_point: int = 0


@dataclass(frozen=True)
class Op:
    """One operator by its name in the schema; `options` is a table of it, by class and fields."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: str = ""
    fields: dict[str, object] = field(default_factory=dict)


def build(
    tensors: Sequence[Tensor], ops: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    """Return the bytes of a model of one subgraph."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = []
    for number, tensor in enumerate(tensors):
        made = schema.TensorT()
        made.name = f"t{number}".encode()
        made.shape = list(tensor.shape)
        made.type = getattr(schema.TensorType, tensor.dtype.upper())
        made.buffer = 0
        if tensor.data is not None:
            buffer = schema.BufferT()
            raw = np.ascontiguousarray(tensor.data).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        if tensor.scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = [tensor.scale]
            made.quantization.zeroPoint = [tensor.zero_point]
        graph.tensors.append(made)
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    names = list(dict.fromkeys(op.name for op in ops))
    model.operatorCodes = [_code(schema, name) for name in names]
    graph.operators = [_operator(schema, op, names.index(op.name)) for op in ops]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(schema, name):
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    return code


def _operator(schema, op, index):
    made = schema.OperatorT()
    made.opcodeIndex = index
    made.inputs, made.outputs = list(op.inputs), list(op.outputs)
    if op.options:
        table = getattr(schema, f"{op.options}T")()
        for name, value in op.fields.items():
            if not hasattr(table, name):
                raise AttributeError(f"{op.options} has no {name}")
            setattr(table, name, value)
        made.builtinOptionsType = getattr(schema.BuiltinOptions, op.options)
        made.builtinOptions = table
    return made
