"""Rewrites of operators that work element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.nodes import attributes

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_DROPOUT_TRAINING_INPUT = 3


def dropout(node: onnx.NodeProto, walk: Walk) -> bool:
    """Dropout in inference is the identity, its mask all true (ONNX Dropout-13)."""
    if len(node.input) >= _DROPOUT_TRAINING_INPUT and node.input[2]:
        training = walk.constant(node.input[2])
        ratio = 0.5 if not node.input[1] else walk.constant(node.input[1])
        if training is None or (bool(training) and ratio != 0):
            raise UnsupportedModel("Dropout: in training mode its output is random")
    x = node.input[0]
    walk.op("Identity", x, outputs=node.output[:1])
    if len(node.output) > 1 and node.output[1]:
        mask = walk.const(np.ones(walk.shape(x), dtype=np.bool_))
        walk.op("Identity", mask, outputs=node.output[1:2])
    return True


def binarizer(node: onnx.NodeProto, walk: Walk) -> bool:
    """ai.onnx.ml Binarizer: 1 above the threshold, else 0."""
    from onnx.helper import np_dtype_to_tensor_dtype

    dtype = walk.dtype(node.input[0])
    threshold = np.array(attributes(node).get("threshold", 0.0), dtype=dtype)
    above = walk.op("Greater", node.input[0], walk.const(threshold))
    walk.op("Cast", above, outputs=node.output, to=np_dtype_to_tensor_dtype(dtype))
    return True


def pow_(node: onnx.NodeProto, walk: Walk) -> bool:
    """Pow of mixed or integer types: in floating point, cast back to the type of the base."""
    from onnx.helper import make_node, np_dtype_to_tensor_dtype

    base, exponent = (walk.dtype(name) for name in node.input)
    if base == exponent == np.float32:
        return False
    real = np.float32 if base == np.float32 else np.float64  # float32 does not hold int32
    kind = np_dtype_to_tensor_dtype(np.dtype(real))
    operands = [walk.op("Cast", name, to=kind) for name in node.input]
    result = walk.fresh()
    walk.keep(make_node("Pow", operands, [result]))
    walk.op("Cast", result, outputs=node.output, to=np_dtype_to_tensor_dtype(base))
    return True


def isinf(node: onnx.NodeProto, walk: Walk) -> bool:
    """IsInf of one sign only: TVM's importer takes both signs whatever the attributes say."""
    attrs = attributes(node)
    negative, positive = attrs.get("detect_negative", 1), attrs.get("detect_positive", 1)
    if negative and positive:
        return False
    if not negative and not positive:
        none = walk.const(np.zeros(walk.shape(node.input[0]), dtype=np.bool_))
        walk.op("Identity", none, outputs=node.output)
        return True
    infinity = np.array(np.inf if positive else -np.inf, dtype=walk.dtype(node.input[0]))
    walk.op("Equal", node.input[0], walk.const(infinity), outputs=node.output)
    return True
