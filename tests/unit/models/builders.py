"""Small models made in memory, so that no test needs a file."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT32, INT64, INT8 = (
    schema.TensorType.FLOAT32,
    schema.TensorType.INT32,
    schema.TensorType.INT64,
    schema.TensorType.INT8,
)


class TfliteBuilder:
    """Collects tensors and operators of one subgraph."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.operators: list[Any] = []
        self.codes: list[int] = []

    def tensor(self, name, shape, type=FLOAT, data=None, signature=None, quantization=None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), type
        tensor.shapeSignature = signature
        tensor.quantization = quantization
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, name, inputs, outputs, options=None, **fields) -> None:
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options:
            operator.builtinOptions = getattr(schema, f"{options}T")()
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            for field, value in fields.items():
                assert hasattr(operator.builtinOptions, field), field
                setattr(operator.builtinOptions, field, value)
        self.operators.append(operator)

    def tree(self, inputs, outputs) -> Any:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            entry = schema.OperatorCodeT()
            entry.deprecatedBuiltinCode, entry.builtinCode, entry.version = min(code, 127), code, 1
            model.operatorCodes.append(entry)
        return model

    def bytes(self, inputs, outputs) -> bytes:
        return pack(self.tree(inputs, outputs))


def pack(tree: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tflite_builder(batch_signature: bool = True) -> tuple[TfliteBuilder, list[int], list[int]]:
    """Conv 3×3×1→2 on 6×6, reshape, dense 32→3: 6·6… small, yet each kind of table occurs."""
    generator = np.random.default_rng(1)
    build = TfliteBuilder()
    dynamic = (lambda *dims: [-1, *dims]) if batch_signature else (lambda *dims: None)
    x = build.tensor("x", (1, 6, 6, 1), signature=dynamic(6, 6, 1))
    kernel = build.tensor("k", (2, 3, 3, 1), data=generator.normal(size=18).astype("f4"))
    bias = build.tensor("kb", (2,), data=np.zeros(2, "f4"))
    conv = build.tensor("conv", (1, 4, 4, 2), signature=dynamic(4, 4, 2))
    shape = build.tensor("to", (2,), INT32, data=np.array([-1, 32], "i4"))
    flat = build.tensor("flat", (1, 32), signature=dynamic(32))
    dense = build.tensor("w", (3, 32), data=generator.normal(size=96).astype("f4"))
    dense_bias = build.tensor("wb", (3,), data=np.ones(3, "f4"))
    y = build.tensor("y", (1, 3), signature=dynamic(3))
    padding = schema.Padding.VALID
    build.operator(
        *("CONV_2D", [x, kernel, bias], [conv], "Conv2DOptions"),
        **{"padding": padding, "strideW": 1, "strideH": 1, "fusedActivationFunction": 1},
        **{"dilationWFactor": 1, "dilationHFactor": 1},
    )
    build.operator("RESHAPE", [conv, shape], [flat], "ReshapeOptions", newShape=[-1, 32])
    build.operator("FULLY_CONNECTED", [flat, dense, dense_bias], [y], "FullyConnectedOptions")
    return build, [x], [y]


def tiny_tflite(batch_signature: bool = True) -> bytes:
    build, inputs, outputs = tflite_builder(batch_signature)
    return build.bytes(inputs, outputs)


def onnx_model(nodes, inputs, outputs, initializers=None, opset=13, **more) -> onnx.ModelProto:
    """inputs and outputs: name → (shape or None, element type)."""
    constants = initializers or {}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, (s, t) in inputs.items()],
        [helper.make_tensor_value_info(n, t, s) for n, (s, t) in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1) for domain in more.pop("domains", ())]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **more)


def cnn(batch: int | str | None = 1, **more) -> onnx.ModelProto:
    """Conv 3×3 3→4 on 8×8, relu, flatten, gemm 256→5: 6,912 + 1,280 MACs."""
    generator = np.random.default_rng(2)
    return onnx_model(
        [
            helper.make_node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Flatten", ["r"], ["f"]),
            helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
        ],
        {"x": ((batch, 3, 8, 8), TensorProto.FLOAT)},
        {"y": ((batch, 5), TensorProto.FLOAT)},
        {
            "k": generator.normal(size=(4, 3, 3, 3)).astype("f4"),
            "b": np.ones(4, "f4"),
            "w": generator.normal(size=(5, 256)).astype("f4"),
        },
        **more,
    )


def tiny_onnx(batch: int | str | None = 1, **more) -> bytes:
    return cnn(batch, **more).SerializeToString()
