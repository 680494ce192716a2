"""Model files for the command line tests, good and bad, made on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper


def small_onnx(**changes: object) -> ModelProto:
    """A dense layer with relu: x (1×16) → y (1×4); `changes` make it bad."""
    rng = np.random.default_rng(7)
    weights = rng.standard_normal((16, 4)).astype(np.float32)
    shape = changes.get("shape", (1, 16))
    kind = changes.get("dtype", TensorProto.FLOAT)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node(str(changes.get("operator", "Relu")), ["h"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, (shape[0], 4))],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", int(changes.get("opset", 17)))]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def large_onnx() -> ModelProto:
    """A dense layer of 3 MB."""
    weights = np.ones((768, 1024), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 768))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1024))],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def external_onnx() -> ModelProto:
    """A model whose weights claim to lie in a file of the system."""
    model = small_onnx()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../etc/passwd")
    return model


def _bytes(model: ModelProto) -> bytes:
    return bytes(model.SerializeToString())


def _tflite_stub() -> bytes:
    """The first bytes of a TFLite file: a root offset, the identifier, and then nothing."""
    return b"\x1c\x00\x00\x00TFL3" + bytes(8)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)

# file name → (content, what the one-line reason must say)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.onnx": (lambda: b"", "empty"),
    "truncated.onnx": (lambda: _bytes(small_onnx())[:-40], "truncated.onnx"),
    "truncated.tflite": (_tflite_stub, "truncated.tflite"),
    "picture.png": (lambda: PNG, "PNG"),
    "picture.onnx": (lambda: PNG, "PNG"),
    "external.onnx": (lambda: _bytes(external_onnx()), "external data"),
    "dynamic.onnx": (lambda: _bytes(small_onnx(shape=("N", 16))), "--shape x="),
    "unknown.onnx": (lambda: _bytes(small_onnx(operator="Frobnicate")), "Frobnicate"),
    "double.onnx": (lambda: _bytes(small_onnx(dtype=TensorProto.DOUBLE)), "float"),
    "old.onnx": (lambda: _bytes(small_onnx(opset=9)), "opset 9"),
    "large.onnx": (lambda: _bytes(large_onnx()), "flash"),
}


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write `data` into `folder` and return the path."""
    path = folder / name
    path.write_bytes(data)
    return path
