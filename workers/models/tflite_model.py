"""A TFLite model as plain frozen data, read once after its bytes have been verified."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

from tinymlaas.contract.errors import InvalidModel
from workers.models.flatbuffer import root_vector_length, verify
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.tflite_schema import IDENTIFIER, ROOT, tflite_schema

CUSTOM_OPERATOR = 32
"""``BuiltinOperator.CUSTOM``: the operator code's own name says which."""
_LAST_INT8_CODE = 127
"""``PLACEHOLDER_FOR_GREATER_OP_CODES``: the one-byte field cannot hold larger codes."""

_EXTERNAL_BUFFERS_SLOT = 9
"""``Model.external_buffers``, newer than the `tflite` package."""

# Bits an element takes, for the types whose storage has a fixed size (TensorType in schema.fbs).
_BITS = {
    **{"FLOAT32": 32, "FLOAT16": 16, "INT32": 32, "UINT8": 8, "INT64": 64, "BOOL": 8},
    **{"INT16": 16, "COMPLEX64": 64, "INT8": 8, "FLOAT64": 64, "COMPLEX128": 128},
    **{"UINT64": 64, "UINT32": 32, "UINT16": 16, "INT4": 4, "BFLOAT16": 16},
}


@dataclass(frozen=True)
class TfliteQuantization:
    """Affine quantisation parameters, per tensor or along `dimension`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    dimension: int


@dataclass(frozen=True)
class TfliteTensor:
    """One tensor. `shape` is what the interpreter allocates, `signature` has -1 where the shape
    may change; `data_bytes` is None if the tensor is not a constant.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    buffer: int
    data_bytes: int | None
    quantization: TfliteQuantization
    variable: bool
    sparse: bool

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """Bytes of all elements, densely stored; None where the type has no fixed size."""
        bits = _BITS.get(self.type)
        return None if bits is None else -(-self.size * bits // 8)


@dataclass(frozen=True)
class TfliteOperator:
    """One operator; an input of -1 is left out. `subgraphs` are those it calls."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteGraph:
    """One subgraph; `inputs` and `outputs` index `tensors`."""

    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[TfliteOperator, ...]


@dataclass(frozen=True)
class TfliteModel:
    """All subgraphs (the first is the model) and the tensor uses of its signatures.

    `bound` holds (subgraph, tensor) of every signature input and output; `external` says whether
    data lies outside the flatbuffer.
    """

    version: int
    graphs: tuple[TfliteGraph, ...]
    buffers: int
    metadata_buffers: tuple[int, ...]
    bound: tuple[tuple[int, int], ...]
    external: bool


def read_tflite(data: bytes, limits: ModelLimits = DEFAULT_LIMITS) -> TfliteModel:
    """Verify the layout of `data` and return what it says; indices are not checked here.

    Raises:
        InvalidModel: not a TFLite flatbuffer, or a damaged one.
    """
    if data[4:8] != IDENTIFIER:
        raise InvalidModel("not a TFLite model: the identifier TFL3 is missing")
    verify(data, tflite_schema(), ROOT, limits)
    import tflite

    model = tflite.Model.GetRootAs(data)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    sizes = [buffer.DataLength() for buffer in buffers]
    names = [_operator_name(model, index) for index in range(model.OperatorCodesLength())]
    return TfliteModel(
        version=model.Version(),
        graphs=tuple(
            _graph(model.Subgraphs(index), names, sizes) for index in range(model.SubgraphsLength())
        ),
        buffers=len(buffers),
        metadata_buffers=tuple(
            model.Metadata(index).Buffer() for index in range(model.MetadataLength())
        ),
        bound=_bound(model),
        external=root_vector_length(data, _EXTERNAL_BUFFERS_SLOT) > 0
        or any(buffer.Offset() > 1 or buffer.Size() > 1 for buffer in buffers),
    )


def constant_bytes(data: bytes) -> list[bytes]:
    """Return the content of every buffer of a model that `read_tflite` has verified."""
    import tflite

    model = tflite.Model.GetRootAs(data)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    return [bytes(each.DataAsNumpy()) if each.DataLength() else b"" for each in buffers]


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


@cache
def _names(enumeration: str) -> dict[int, str]:
    import tflite

    members = vars(getattr(tflite, enumeration))
    return {code: name for name, code in members.items() if isinstance(code, int)}


def _operator_name(model: Any, index: int) -> str:
    code = model.OperatorCodes(index)
    # Old files hold the code in a byte only, files with newer operators in both (schema.fbs).
    old, new = code.DeprecatedBuiltinCode(), code.BuiltinCode()
    number = new if old == _LAST_INT8_CODE else max(old, new)
    if number == CUSTOM_OPERATOR:
        return f"CUSTOM.{_text(code.CustomCode())}"
    return _names("BuiltinOperator").get(number, f"BUILTIN_{number}")


def _ints(table: Any, vector: str) -> tuple[int, ...]:
    """Return all elements of an integer vector; absent reads as empty."""
    if getattr(table, f"{vector}Length")() == 0:
        return ()
    return tuple(int(value) for value in getattr(table, f"{vector}AsNumpy")())


def _quantization(tensor: Any) -> TfliteQuantization:
    table = tensor.Quantization()
    if table is None:
        return TfliteQuantization((), (), 0)
    scales = table.ScaleAsNumpy() if table.ScaleLength() else ()
    return TfliteQuantization(
        scales=tuple(float(scale) for scale in scales),
        zero_points=_ints(table, "ZeroPoint"),
        dimension=table.QuantizedDimension(),
    )


def _tensor(table: Any, sizes: list[int]) -> TfliteTensor:
    buffer = table.Buffer()
    data_bytes = sizes[buffer] if buffer < len(sizes) else 0
    return TfliteTensor(
        name=_text(table.Name()),
        shape=_ints(table, "Shape"),
        signature=_ints(table, "ShapeSignature"),
        type=_names("TensorType").get(table.Type(), f"TYPE_{table.Type()}"),
        buffer=buffer,
        data_bytes=data_bytes or None,
        quantization=_quantization(table),
        variable=bool(table.IsVariable()),
        sparse=table.Sparsity() is not None,
    )


def _called(operator: Any) -> tuple[int, ...]:
    import tflite

    readers = {
        tflite.BuiltinOptions.IfOptions: ("IfOptions", "ThenSubgraphIndex", "ElseSubgraphIndex"),
        tflite.BuiltinOptions.WhileOptions: (
            *("WhileOptions", "CondSubgraphIndex", "BodySubgraphIndex"),
        ),
        tflite.BuiltinOptions.CallOnceOptions: ("CallOnceOptions", "InitSubgraphIndex"),
        tflite.BuiltinOptions.CallOptions: ("CallOptions", "Subgraph"),
    }
    union = operator.BuiltinOptions()
    if union is None or operator.BuiltinOptionsType() not in readers:
        return ()
    table, *fields = readers[operator.BuiltinOptionsType()]
    options = getattr(tflite, table)()
    options.Init(union.Bytes, union.Pos)
    return tuple(getattr(options, field)() for field in fields)


def _operator(table: Any, names: list[str]) -> TfliteOperator:
    index = table.OpcodeIndex()
    if index >= len(names):
        raise InvalidModel(f"damaged TFLite model: operator code {index} of {len(names)}")
    return TfliteOperator(
        name=names[index],
        inputs=_ints(table, "Inputs"),
        outputs=_ints(table, "Outputs"),
        subgraphs=_called(table),
    )


def _graph(table: Any, names: list[str], sizes: list[int]) -> TfliteGraph:
    return TfliteGraph(
        tensors=tuple(_tensor(table.Tensors(i), sizes) for i in range(table.TensorsLength())),
        inputs=_ints(table, "Inputs"),
        outputs=_ints(table, "Outputs"),
        operators=tuple(
            _operator(table.Operators(i), names) for i in range(table.OperatorsLength())
        ),
    )


def _bound(model: Any) -> tuple[tuple[int, int], ...]:
    bound = []
    for index in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(index)
        maps = [signature.Inputs(i) for i in range(signature.InputsLength())]
        maps += [signature.Outputs(i) for i in range(signature.OutputsLength())]
        bound += [(signature.SubgraphIndex(), each.TensorIndex()) for each in maps]
    return tuple(bound)
