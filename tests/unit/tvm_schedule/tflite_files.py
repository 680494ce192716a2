"""Writes TFLite files of one hybrid operator: float32 in and out, int8 weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import tflite


@dataclass(frozen=True)
class HybridFile:
    """One operator `kind` (a name of tflite.BuiltinOperator) on weights of per-axis `scales`."""

    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weights: Any
    scales: tuple[float, ...]
    bias: Any = None
    activation: int = 0
    same: bool = True
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    asymmetric: bool = False

    def data(self) -> bytes:
        """Return the file."""
        return _Writer(self).write()


class _Writer:
    def __init__(self, file: HybridFile) -> None:
        self.file = file
        self.b = flatbuffers.Builder(1024)

    def write(self) -> bytes:
        b, f = self.b, self.file
        arrays = [None, f.weights, f.bias] if f.bias is not None else [None, f.weights]
        buffers = [self._buffer(None), *(self._buffer(a) for a in arrays if a is not None)]
        tensors = [self._tensor("x", f.input_shape, tflite.TensorType.FLOAT32, 0)]
        axis = 3 if f.kind == "DEPTHWISE_CONV_2D" else 0
        quantization = self._quantization(f.scales, axis)
        tensors.append(self._tensor("w", f.weights.shape, tflite.TensorType.INT8, 1, quantization))
        if f.bias is not None:
            tensors.append(self._tensor("b", f.bias.shape, tflite.TensorType.FLOAT32, 2))
        tensors.append(self._tensor("y", f.output_shape, tflite.TensorType.FLOAT32, 0))
        last = len(tensors) - 1
        op = self._operator(list(range(last)), [last])
        graph = self._graph(tensors, op, last)
        code = self._code()
        model = self._model(code, graph, buffers)
        b.Finish(model, b"TFL3")
        return bytes(b.Output())

    def _vector(self, start: Any, items: list[int]) -> int:
        start(self.b, len(items))
        for item in reversed(items):
            self.b.PrependUOffsetTRelative(item)
        return self.b.EndVector()

    def _ints(self, values: list[int] | tuple[int, ...]) -> int:
        return self.b.CreateNumpyVector(np.array(values, np.int32))

    def _buffer(self, array: Any) -> int:
        data = None
        if array is not None:
            data = self.b.CreateNumpyVector(np.frombuffer(array.tobytes(), np.uint8))
        tflite.BufferStart(self.b)
        if data is not None:
            tflite.BufferAddData(self.b, data)
        return tflite.BufferEnd(self.b)

    def _quantization(self, scales: tuple[float, ...], axis: int) -> int:
        scale = self.b.CreateNumpyVector(np.array(scales, np.float32))
        zero = self.b.CreateNumpyVector(np.zeros(len(scales), np.int64))
        tflite.QuantizationParametersStart(self.b)
        tflite.QuantizationParametersAddScale(self.b, scale)
        tflite.QuantizationParametersAddZeroPoint(self.b, zero)
        tflite.QuantizationParametersAddQuantizedDimension(self.b, axis if len(scales) > 1 else 0)
        return tflite.QuantizationParametersEnd(self.b)

    def _tensor(self, name: str, shape: Any, kind: int, buffer: int, quantization: int = 0) -> int:
        label, dims = self.b.CreateString(name), self._ints(tuple(shape))
        tflite.TensorStart(self.b)
        tflite.TensorAddShape(self.b, dims)
        tflite.TensorAddType(self.b, kind)
        tflite.TensorAddBuffer(self.b, buffer)
        tflite.TensorAddName(self.b, label)
        if quantization:
            tflite.TensorAddQuantization(self.b, quantization)
        return tflite.TensorEnd(self.b)

    def _options(self) -> tuple[int, int]:
        b, f = self.b, self.file
        padding = tflite.Padding.SAME if f.same else tflite.Padding.VALID
        if f.kind == "FULLY_CONNECTED":
            tflite.FullyConnectedOptionsStart(b)
            tflite.FullyConnectedOptionsAddFusedActivationFunction(b, f.activation)
            tflite.FullyConnectedOptionsAddAsymmetricQuantizeInputs(b, f.asymmetric)
            end = tflite.FullyConnectedOptionsEnd(b)
            return tflite.BuiltinOptions.FullyConnectedOptions, end
        prefix = "DepthwiseConv2DOptions" if f.kind == "DEPTHWISE_CONV_2D" else "Conv2DOptions"
        getattr(tflite, f"{prefix}Start")(b)
        values = {
            "Padding": padding,
            "StrideH": f.stride[0],
            "StrideW": f.stride[1],
            "DilationHFactor": f.dilation[0],
            "DilationWFactor": f.dilation[1],
            "FusedActivationFunction": f.activation,
        }
        if f.kind == "DEPTHWISE_CONV_2D":
            values["DepthMultiplier"] = f.output_shape[3] // f.input_shape[3]
        for name, value in values.items():
            getattr(tflite, f"{prefix}Add{name}")(b, value)
        return getattr(tflite.BuiltinOptions, prefix), getattr(tflite, f"{prefix}End")(b)

    def _operator(self, inputs: list[int], outputs: list[int]) -> int:
        kind, options = self._options()
        ins, outs = self._ints(inputs), self._ints(outputs)
        tflite.OperatorStart(self.b)
        tflite.OperatorAddOpcodeIndex(self.b, 0)
        tflite.OperatorAddInputs(self.b, ins)
        tflite.OperatorAddOutputs(self.b, outs)
        tflite.OperatorAddBuiltinOptionsType(self.b, kind)
        tflite.OperatorAddBuiltinOptions(self.b, options)
        return tflite.OperatorEnd(self.b)

    def _graph(self, tensors: list[int], op: int, last: int) -> int:
        all_tensors = self._vector(tflite.SubGraphStartTensorsVector, tensors)
        ops = self._vector(tflite.SubGraphStartOperatorsVector, [op])
        ins, outs = self._ints([0]), self._ints([last])
        tflite.SubGraphStart(self.b)
        tflite.SubGraphAddTensors(self.b, all_tensors)
        tflite.SubGraphAddInputs(self.b, ins)
        tflite.SubGraphAddOutputs(self.b, outs)
        tflite.SubGraphAddOperators(self.b, ops)
        return tflite.SubGraphEnd(self.b)

    def _code(self) -> int:
        code = getattr(tflite.BuiltinOperator, self.file.kind)
        tflite.OperatorCodeStart(self.b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self.b, code)
        tflite.OperatorCodeAddBuiltinCode(self.b, code)
        # the versions from which on int8 weights and asymmetric inputs are understood
        version = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "FULLY_CONNECTED": 9}[self.file.kind]
        tflite.OperatorCodeAddVersion(self.b, version)
        return tflite.OperatorCodeEnd(self.b)

    def _model(self, code: int, graph: int, buffers: list[int]) -> int:
        codes = self._vector(tflite.ModelStartOperatorCodesVector, [code])
        graphs = self._vector(tflite.ModelStartSubgraphsVector, [graph])
        all_buffers = self._vector(tflite.ModelStartBuffersVector, buffers)
        tflite.ModelStart(self.b)
        tflite.ModelAddVersion(self.b, 3)
        tflite.ModelAddOperatorCodes(self.b, codes)
        tflite.ModelAddSubgraphs(self.b, graphs)
        tflite.ModelAddBuffers(self.b, all_buffers)
        return tflite.ModelEnd(self.b)
