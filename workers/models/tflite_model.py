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
class TfliteDimension:
    """One dimension of a sparse tensor as it is stored: dense of `size`, or compressed rows."""

    dense: bool
    size: int
    segments: tuple[int, ...]
    indices: tuple[int, ...]


@dataclass(frozen=True)
class TfliteSparsity:
    """In which `order` the dimensions of a sparse tensor, and of its blocks, are stored."""

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    dimensions: tuple[TfliteDimension, ...]


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
    sparsity: TfliteSparsity | None

    @property
    def sparse(self) -> bool:
        """Whether a constant is stored without its zeros."""
        return self.sparsity is not None

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
    """One operator; an input of -1 is left out. `subgraphs` are those it calls, `options` names the
    tables of its options.
    """

    name: str
    options: tuple[str, ...]
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
    data lies outside the flatbuffer; `constants` are the bytes of all buffers together.
    """

    version: int
    graphs: tuple[TfliteGraph, ...]
    buffers: int
    metadata_buffers: tuple[int, ...]
    bound: tuple[tuple[int, int], ...]
    external: bool
    constants: int


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
    return _Reader(model, limits).read(root_vector_length(data, _EXTERNAL_BUFFERS_SLOT) > 0)


def constant_bytes(data: bytes) -> list[bytes]:
    """Return the content of every buffer of a model that `read_tflite` has verified."""
    import tflite

    model = tflite.Model.GetRootAs(data)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    return [bytes(each.DataAsNumpy()) if each.DataLength() else b"" for each in buffers]


@cache
def _names(enumeration: str) -> dict[int, str]:
    import tflite

    members = vars(getattr(tflite, enumeration))
    return {code: name for name, code in members.items() if isinstance(code, int)}


class _Reader:
    """Reads verified tables. Many may refer to one vector, so what is read is counted each time."""

    def __init__(self, model: Any, limits: ModelLimits) -> None:
        self.model = model
        self.limits = limits
        self.left = limits.elements
        self.sizes: list[int] = []
        self.names: list[str] = []

    def read(self, external: bool) -> TfliteModel:
        model = self.model
        buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
        self.sizes = [buffer.DataLength() for buffer in buffers]
        codes = range(model.OperatorCodesLength())
        self.names = [self.operator_name(model.OperatorCodes(index)) for index in codes]
        graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
        if sum(graph.OperatorsLength() for graph in graphs) > self.limits.nodes:
            raise InvalidModel(f"the model has more than {self.limits.nodes} operators")
        if sum(graph.TensorsLength() for graph in graphs) > self.limits.tensors:
            raise InvalidModel(f"the model has more than {self.limits.tensors} tensors")
        return TfliteModel(
            version=model.Version(),
            graphs=tuple(self.graph(graph) for graph in graphs),
            buffers=len(buffers),
            metadata_buffers=tuple(
                model.Metadata(index).Buffer() for index in range(model.MetadataLength())
            ),
            bound=self.bound(),
            external=external or any(each.Offset() > 1 or each.Size() > 1 for each in buffers),
            constants=sum(self.sizes),
        )

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise InvalidModel(
                f"the model's shapes, names, parameters and indices have more than "
                f"{self.limits.elements} elements"
            )

    def text(self, value: bytes | None) -> str:
        self.spend(len(value or b""))
        return (value or b"").decode("utf-8", "replace")

    def vector(self, table: Any, name: str) -> Any:
        """Return a vector of numbers; absent reads as empty."""
        length = getattr(table, f"{name}Length")()
        self.spend(length)
        return getattr(table, f"{name}AsNumpy")() if length else ()

    def ints(self, table: Any, name: str) -> tuple[int, ...]:
        return tuple(int(value) for value in self.vector(table, name))

    def shape(self, table: Any, name: str) -> tuple[int, ...]:
        rank = getattr(table, f"{name}Length")()
        if rank > self.limits.rank:
            raise InvalidModel(
                f"a tensor has {rank} dimensions; up to {self.limits.rank} are taken"
            )
        return self.ints(table, name)

    def operator_name(self, code: Any) -> str:
        # Old files hold the code in a byte only, files with newer operators in both (schema.fbs).
        old, new = code.DeprecatedBuiltinCode(), code.BuiltinCode()
        number = new if old == _LAST_INT8_CODE else max(old, new)
        if number == CUSTOM_OPERATOR:
            return f"CUSTOM.{self.text(code.CustomCode())}"
        return _names("BuiltinOperator").get(number, f"BUILTIN_{number}")

    def quantization(self, tensor: Any) -> TfliteQuantization:
        table = tensor.Quantization()
        if table is None:
            return TfliteQuantization((), (), 0)
        return TfliteQuantization(
            scales=tuple(float(scale) for scale in self.vector(table, "Scale")),
            zero_points=self.ints(table, "ZeroPoint"),
            dimension=table.QuantizedDimension(),
        )

    def tensor(self, table: Any) -> TfliteTensor:
        buffer = table.Buffer()
        data_bytes = self.sizes[buffer] if buffer < len(self.sizes) else 0
        return TfliteTensor(
            name=self.text(table.Name()),
            shape=self.shape(table, "Shape"),
            signature=self.shape(table, "ShapeSignature"),
            type=_names("TensorType").get(table.Type(), f"TYPE_{table.Type()}"),
            buffer=buffer,
            data_bytes=data_bytes or None,
            quantization=self.quantization(table),
            variable=bool(table.IsVariable()),
            sparsity=self.sparsity(table.Sparsity()),
        )

    def sparsity(self, table: Any) -> TfliteSparsity | None:
        if table is None:
            return None
        count = table.DimMetadataLength()
        self.spend(count)
        return TfliteSparsity(
            order=self.shape(table, "TraversalOrder"),
            blocks=self.shape(table, "BlockMap"),
            dimensions=tuple(self.dimension(table.DimMetadata(index)) for index in range(count)),
        )

    def dimension(self, table: Any) -> TfliteDimension:
        import tflite

        return TfliteDimension(
            dense=table.Format() == tflite.DimensionType.DENSE,
            size=table.DenseSize(),
            segments=self.index_vector(table.ArraySegments(), table.ArraySegmentsType()),
            indices=self.index_vector(table.ArrayIndices(), table.ArrayIndicesType()),
        )

    def index_vector(self, union: Any, code: int) -> tuple[int, ...]:
        import tflite

        kind = _names("SparseIndexVector").get(code)
        if union is None or code == 0 or kind is None:
            return ()
        return self.ints(_table(tflite, kind, union), "Values")

    def operator(self, table: Any) -> TfliteOperator:
        index = table.OpcodeIndex()
        if index >= len(self.names):
            raise InvalidModel(f"damaged TFLite model: operator code {index} of {len(self.names)}")
        return TfliteOperator(
            name=self.names[index],
            options=_options(table),
            inputs=self.ints(table, "Inputs"),
            outputs=self.ints(table, "Outputs"),
            subgraphs=_called(table),
        )

    def graph(self, table: Any) -> TfliteGraph:
        return TfliteGraph(
            tensors=tuple(self.tensor(table.Tensors(i)) for i in range(table.TensorsLength())),
            inputs=self.ints(table, "Inputs"),
            outputs=self.ints(table, "Outputs"),
            operators=tuple(
                self.operator(table.Operators(i)) for i in range(table.OperatorsLength())
            ),
        )

    def bound(self) -> tuple[tuple[int, int], ...]:
        bound = []
        for index in range(self.model.SignatureDefsLength()):
            signature = self.model.SignatureDefs(index)
            self.spend(signature.InputsLength() + signature.OutputsLength())
            maps = [signature.Inputs(i) for i in range(signature.InputsLength())]
            maps += [signature.Outputs(i) for i in range(signature.OutputsLength())]
            bound += [(signature.SubgraphIndex(), each.TensorIndex()) for each in maps]
        return tuple(bound)


def _table(module: Any, kind: str, union: Any) -> Any:
    """Return the union's value as a table of `kind`."""
    table = getattr(module, kind)()
    table.Init(union.Bytes, union.Pos)
    return table


def _options(operator: Any) -> tuple[str, ...]:
    """Return the names of the tables of options that `operator` has (one, if it is sound)."""
    unions = tflite_schema().unions
    codes = {
        "BuiltinOptions": operator.BuiltinOptionsType(),
        "BuiltinOptions2": operator.BuiltinOptions2Type(),
    }
    return tuple(
        unions[union].get(code, f"{union} {code}") for union, code in codes.items() if code
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
    kind, *fields = readers[operator.BuiltinOptionsType()]
    options = _table(tflite, kind, union)
    return tuple(getattr(options, field)() for field in fields)
