"""Builds small ONNX models in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[np.generic]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> bytes:
    """Return the bytes of a model with float32 inputs of the shapes given."""
    made = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
        for name, shape in inputs.items()
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(list(nodes), "test", made, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    typed = onnx.shape_inference.infer_shapes(model, data_prop=True)
    if all(value.type.WhichOneof("value") for value in typed.graph.output):
        model = typed
    return model.SerializeToString()


def reference(model: bytes, inputs: Sequence[Array]) -> list[Array]:
    """Return the outputs of onnxruntime."""
    from workers.models.ort import ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))
