"""TFLite files made in the test, table by table of the schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import tflite

from workers.compilers.cmsis_nn.options import CallOnceOptions, Options, VarHandleOptions

VERSION = 3


@dataclass(frozen=True, eq=False)
class T:
    """One tensor: `data` makes it a constant; scales and zero points one or one a channel."""

    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | Sequence[float] | None = None
    zero: int | Sequence[int] = 0
    data: np.ndarray | None = None
    axis: int = 0
    variable: bool = False


@dataclass(frozen=True, eq=False)
class Op:
    """One operator over tensor numbers of its model."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None = None


@dataclass
class Model:
    """Tensors and operators, appended as the test goes."""

    tensors: list[T] = field(default_factory=list)
    operators: list[Op] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    others: list[Model] = field(default_factory=list)  # subgraphs 1, 2, …

    def add(self, tensor: T) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def input(self, tensor: T) -> int:
        self.inputs.append(self.add(tensor))
        return self.inputs[-1]

    def op(
        self, name: str, inputs: Sequence[int], output: T, options: Options | None = None
    ) -> int:
        number = self.add(output)
        self.operators.append(Op(name, tuple(inputs), (number,), options))
        return number

    def absorb(self, other: Model) -> None:
        """Put `other` beside what is here; its variables stay its own."""
        shift, graphs, tag = len(self.tensors), len(self.others), f"_{len(self.operators)}"
        self.tensors += other.tensors
        moved = [_moved(op, shift, graphs, tag) for op in other.operators]
        # what fills variables must come before all that uses one
        first = [op for op in moved if op.name == "CALL_ONCE"]
        self.operators[:0] = first
        self.operators += [op for op in moved if op not in first]
        self.inputs += [n + shift for n in other.inputs]
        self.outputs += [n + shift for n in other.outputs]
        for graph in other.others:
            operators = [_moved(op, 0, graphs, tag) for op in graph.operators]
            self.others.append(dataclasses.replace(graph, operators=operators))

    def to_bytes(self) -> bytes:
        return _Writer((self, *self.others)).write()


def _moved(op: Op, shift: int, graphs: int, tag: str) -> Op:
    options = op.options
    if isinstance(options, VarHandleOptions):
        options = dataclasses.replace(options, shared_name=options.shared_name + tag)
    if isinstance(options, CallOnceOptions):
        index = options.init_subgraph_index + graphs
        options = dataclasses.replace(options, init_subgraph_index=index)
    inputs = tuple(n if n < 0 else n + shift for n in op.inputs)
    return Op(op.name, inputs, tuple(n + shift for n in op.outputs), options)


class _Writer:
    def __init__(self, graphs: Sequence[Model]) -> None:
        self.graphs = graphs
        self.b = flatbuffers.Builder(1024)
        self.buffers: list[bytes] = [b""]
        self.codes: list[str] = []

    def write(self) -> bytes:
        b = self.b
        subgraphs = self._offsets([self._graph(g) for g in self.graphs])
        codes = self._offsets([self._code(name) for name in self.codes])
        buffers = self._offsets([self._buffer(data) for data in self.buffers])
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, VERSION)
        tflite.ModelAddOperatorCodes(b, codes)
        tflite.ModelAddSubgraphs(b, subgraphs)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    def _offsets(self, offsets: Sequence[int]) -> int:
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        return self.b.EndVector()

    def _ints(self, values: Sequence[int]) -> int:
        return self.b.CreateNumpyVector(np.asarray(values, np.int32))

    def _buffer(self, data: bytes) -> int:
        vector = None
        if data:
            self.b.StartVector(1, len(data), 16)
            self.b.head -= len(data)
            self.b.Bytes[self.b.head : self.b.head + len(data)] = data
            vector = self.b.EndVector()
        tflite.BufferStart(self.b)
        if vector is not None:
            tflite.BufferAddData(self.b, vector)
        return tflite.BufferEnd(self.b)

    def _code(self, name: str) -> int:
        number = getattr(tflite.BuiltinOperator, name)
        tflite.OperatorCodeStart(self.b)
        tflite.OperatorCodeAddBuiltinCode(self.b, number)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self.b, min(number, 127))
        tflite.OperatorCodeAddVersion(self.b, 1)
        return tflite.OperatorCodeEnd(self.b)

    def _graph(self, graph: Model) -> int:
        tensors = self._offsets([self._tensor(i, t) for i, t in enumerate(graph.tensors)])
        operators = self._offsets([self._operator(op) for op in graph.operators])
        inputs, outputs = self._ints(graph.inputs), self._ints(graph.outputs)
        tflite.SubGraphStart(self.b)
        tflite.SubGraphAddTensors(self.b, tensors)
        tflite.SubGraphAddInputs(self.b, inputs)
        tflite.SubGraphAddOutputs(self.b, outputs)
        tflite.SubGraphAddOperators(self.b, operators)
        return tflite.SubGraphEnd(self.b)

    def _tensor(self, index: int, tensor: T) -> int:
        b = self.b
        name = b.CreateString(f"t{index}")
        shape = self._ints(tensor.shape)
        quantisation = self._quantisation(tensor)
        number = 0
        if tensor.data is not None:
            data = np.asarray(tensor.data, tensor.dtype)
            assert data.shape == tensor.shape
            self.buffers.append(data.tobytes())
            number = len(self.buffers) - 1
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, getattr(tflite.TensorType, tensor.dtype.upper()))
        tflite.TensorAddBuffer(b, number)
        tflite.TensorAddName(b, name)
        tflite.TensorAddIsVariable(b, tensor.variable)
        if quantisation is not None:
            tflite.TensorAddQuantization(b, quantisation)
        return tflite.TensorEnd(b)

    def _quantisation(self, tensor: T) -> int | None:
        if tensor.scale is None:
            return None
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        zeros = np.broadcast_to(np.asarray(tensor.zero, np.int64), scales.shape)
        scale, zero = self.b.CreateNumpyVector(scales), self.b.CreateNumpyVector(zeros.copy())
        tflite.QuantizationParametersStart(self.b)
        tflite.QuantizationParametersAddScale(self.b, scale)
        tflite.QuantizationParametersAddZeroPoint(self.b, zero)
        tflite.QuantizationParametersAddQuantizedDimension(self.b, tensor.axis)
        return tflite.QuantizationParametersEnd(self.b)

    def _operator(self, op: Op) -> int:
        if op.name not in self.codes:
            self.codes.append(op.name)
        options = self._options(op.options) if op.options is not None else None
        inputs, outputs = self._ints(op.inputs), self._ints(op.outputs)
        tflite.OperatorStart(self.b)
        tflite.OperatorAddOpcodeIndex(self.b, self.codes.index(op.name))
        tflite.OperatorAddInputs(self.b, inputs)
        tflite.OperatorAddOutputs(self.b, outputs)
        if options is not None:
            kind = getattr(tflite.BuiltinOptions, type(op.options).__name__)
            tflite.OperatorAddBuiltinOptionsType(self.b, kind)
            tflite.OperatorAddBuiltinOptions(self.b, options)
        return tflite.OperatorEnd(self.b)

    def _options(self, options: Options) -> int:
        kind = type(options).__name__
        values = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
        texts = {n: self.b.CreateString(v) for n, v in values.items() if isinstance(v, str)}
        getattr(tflite, f"{kind}Start")(self.b)
        for name, value in (values | texts).items():
            camel = "".join(part.capitalize() for part in name.split("_"))
            getattr(tflite, f"{kind}Add{camel}")(self.b, value)
        return getattr(tflite, f"{kind}End")(self.b)
