"""Read a TFLite flatbuffer into `graph.TfliteModel`.

The file has been checked by the worker that took it in; what is damaged all the same ends in
`InvalidModel`, never in an IndexError of a generated accessor.
"""

from __future__ import annotations

import dataclasses
import struct
from functools import cache
from typing import Any

import numpy as np

from tinymlaas.contract.errors import InvalidModel
from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.graph import Affine, Array, Graph, Operator, Tensor, TfliteModel
from workers.compilers.cmsis_nn.options import TABLES, Options

_DTYPES = {
    "FLOAT32": DType.FLOAT32,
    "FLOAT16": DType.FLOAT16,
    "INT8": DType.INT8,
    "UINT8": DType.UINT8,
    "INT16": DType.INT16,
    "INT32": DType.INT32,
    "INT64": DType.INT64,
    "BOOL": DType.BOOL,
}


def read_model(data: bytes) -> TfliteModel:
    """Return the model in `data`.

    Raises:
        InvalidModel: `data` is no TFLite file, or its tables contradict one another.
    """
    import tflite

    try:
        model = tflite.Model.GetRootAs(data, 0)
        graphs = tuple(
            _graph(model, model.Subgraphs(number)) for number in range(model.SubgraphsLength())
        )
    except (struct.error, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InvalidModel(f"the TFLite file is damaged: {error}") from None
    if not graphs:
        raise InvalidModel("the TFLite file holds no subgraph")
    return TfliteModel(graphs)


@cache
def _names(enum: str) -> dict[int, str]:
    import tflite

    members = vars(getattr(tflite, enum)).items()
    return {value: name for name, value in members if isinstance(value, int)}


def _ints(vector: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in vector) if isinstance(vector, np.ndarray) else ()


def _graph(model: Any, subgraph: Any) -> Graph:
    count = subgraph.TensorsLength()
    tensors = {number: _tensor(model, subgraph.Tensors(number)) for number in range(count)}
    operators = tuple(
        _operator(model, index, subgraph.Operators(index))
        for index in range(subgraph.OperatorsLength())
    )
    graph = Graph(
        tensors, operators, _ints(subgraph.InputsAsNumpy()), _ints(subgraph.OutputsAsNumpy())
    )
    named = [*graph.inputs, *graph.outputs]
    named += [n for op in operators for n in (*op.inputs, *op.outputs) if n != -1]
    if any(number not in tensors for number in named):
        raise InvalidModel("the TFLite file names a tensor that is not in it")
    return graph


def _tensor(model: Any, tensor: Any) -> Tensor:
    type_name = _names("TensorType").get(tensor.Type(), f"type {tensor.Type()}")
    dtype = _DTYPES.get(type_name)
    shape = _ints(tensor.ShapeAsNumpy())
    raw = model.Buffers(tensor.Buffer()).DataAsNumpy()
    data = _constant(raw, dtype, shape) if isinstance(raw, np.ndarray) and raw.size else None
    name = (tensor.Name() or b"").decode(errors="replace")
    sparse = tensor.Sparsity() is not None
    affine = _affine(tensor.Quantization())
    return Tensor(name, shape, type_name, dtype, affine, data, tensor.IsVariable(), sparse)


def _constant(raw: Array, dtype: DType | None, shape: tuple[int, ...]) -> Array | None:
    if dtype is None:
        return None
    stored = np.dtype(dtype.value).newbyteorder("<")
    return np.frombuffer(raw.tobytes(), stored).astype(dtype.value).reshape(shape)


def _affine(quantization: Any) -> Affine | None:
    if quantization is None or not quantization.ScaleLength():
        return None
    scales = np.asarray(quantization.ScaleAsNumpy(), np.float32)
    zeros = np.zeros(len(scales), np.int64)
    if quantization.ZeroPointLength():
        zeros = np.asarray(quantization.ZeroPointAsNumpy(), np.int64)
    return Affine(scales, zeros, quantization.QuantizedDimension())


def _operator(model: Any, index: int, operator: Any) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # files older than schema 3a keep the code in the deprecated 8-bit field
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = _names("BuiltinOperator").get(number, f"operator code {number}")
    if name == "CUSTOM":
        name = f"CUSTOM {(code.CustomCode() or b'').decode(errors='replace')}"
    return Operator(
        index,
        name,
        _ints(operator.InputsAsNumpy()),
        _ints(operator.OutputsAsNumpy()),
        _options(name, operator),
    )


def _options(name: str, operator: Any) -> Options | None:
    import tflite

    kind = TABLES.get(name)
    union = operator.BuiltinOptions()
    if kind is None or union is None:
        return None
    expected = getattr(tflite.BuiltinOptions, kind.__name__)
    if operator.BuiltinOptionsType() != expected:
        raise InvalidModel(f"operator {name} carries the options of another operator")
    table = getattr(tflite, kind.__name__)()
    table.Init(union.Bytes, union.Pos)
    values = {field.name: _field(table, field.name) for field in dataclasses.fields(kind)}
    return kind(**values)


def _field(table: Any, name: str) -> Any:
    value = getattr(table, "".join(part.capitalize() for part in name.split("_")))()
    return value.decode(errors="replace") if isinstance(value, bytes) else value
