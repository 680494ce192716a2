"""Hybrid TFLite models: int8 weights in operators that compute on floats.

TensorFlow makes them by "dynamic range" quantisation. Kernels scale the inputs of such an operator
anew in every inference, which microcontrollers do not do; the float model that the weights stand
for is as good a source as any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def with_float_weights(data: bytes) -> tuple[bytes, int]:
    """Return the TFLite file `data` with real numbers for int8 weights, and for how many tensors.

    Weights become scale × (q − zero point), by channel where there are scales by channel. Integer
    constants of operators on integers stay as they are, and so does a file without hybrids.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    from workers.quantise.finish import packed

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    kinds = schema.TensorType
    changed = 0
    for graph in model.subgraphs:
        for index in _hybrid_weights(model, graph, kinds):
            tensor = graph.tensors[index]
            values = _real(np.asarray(model.buffers[tensor.buffer].data, np.uint8), tensor)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer, tensor.type = len(model.buffers) - 1, kinds.FLOAT32
            tensor.quantization = None
            changed += 1
    return (packed(model), changed) if changed else (data, 0)


def _hybrid_weights(model: Any, graph: Any, kinds: Any) -> list[int]:
    """Return the int8 constants that operators with a float first input read."""
    found = []
    for operator in graph.operators:
        used = [int(index) for index in operator.inputs if index >= 0]
        if not used or graph.tensors[used[0]].type != kinds.FLOAT32:
            continue
        found += [index for index in used[1:] if _is_weight(model, graph.tensors[index], kinds)]
    return sorted(set(found))


def _is_weight(model: Any, tensor: Any, kinds: Any) -> bool:
    data, quantised = model.buffers[tensor.buffer].data, tensor.quantization
    scaled = quantised is not None and quantised.scale is not None and len(quantised.scale)
    return bool(tensor.type == kinds.INT8 and data is not None and len(data) and scaled)


def _real(raw: Array, tensor: Any) -> Array:
    shape = tuple(int(size) for size in tensor.shape)
    values = raw.view(np.int8).reshape(shape).astype(np.float32)
    along = [1] * len(shape)
    along[tensor.quantization.quantizedDimension] = -1
    scales = np.asarray(tensor.quantization.scale, np.float32)
    zeros = np.asarray(tensor.quantization.zeroPoint, np.float32)
    if len(scales) == 1:
        along = [1] * len(shape)
    return np.asarray((values - zeros.reshape(along)) * scales.reshape(along), np.float32)
