"""Rewrites of operators that choose or count elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.build import reshape
from workers.compilers.tvm.graph.nodes import attributes

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_MAX_CUMSUM = 256
"""Longest axis that CumSum is made for: its matrix has the square of that."""


def one_hot(node: onnx.NodeProto, walk: Walk) -> bool:
    """OneHot of constant depth: compare with 0, 1, … depth - 1; negative indices count back."""
    from onnx.helper import np_dtype_to_tensor_dtype

    indices, depth_name, values = node.input
    depth = walk.constant(depth_name)
    if depth is None:
        raise UnsupportedModel("OneHot: the shape of its output depends on input values")
    shape = list(walk.shape(indices))
    axis = attributes(node).get("axis", -1) % (len(shape) + 1)
    count = int(depth.item())
    dtype = np_dtype_to_tensor_dtype(np.dtype(np.int64))
    whole = walk.op("Cast", indices, to=dtype)
    size = walk.const(np.array(count, dtype=np.int64))
    zero = walk.const(np.array(0, dtype=np.int64))
    back = walk.op("Where", walk.op("Less", whole, zero), walk.op("Add", whole, size), whole)
    classes = [1] * (len(shape) + 1)
    classes[axis] = count
    numbers = walk.const(np.arange(count, dtype=np.int64).reshape(classes))
    wide = reshape(walk, back, [*shape[:axis], 1, *shape[axis:]])
    off, on = (walk.op("Gather", values, walk.const(np.array(i, dtype=np.int64))) for i in (0, 1))
    walk.op("Where", walk.op("Equal", wide, numbers), on, off, outputs=node.output)
    return True


def compress(node: onnx.NodeProto, walk: Walk) -> bool:
    """Compress by a constant condition: gather the chosen elements."""
    condition = walk.constant(node.input[1])
    if condition is None:
        raise UnsupportedModel("Compress: the shape of its output depends on input values")
    x, axis = node.input[0], attributes(node).get("axis")
    if axis is None:
        x, axis = reshape(walk, x, [int(np.prod(walk.shape(x)))]), 0
    chosen = walk.const(np.flatnonzero(condition).astype(np.int64))
    walk.op("Gather", x, chosen, outputs=node.output, axis=axis)
    return True


def cumsum(node: onnx.NodeProto, walk: Walk) -> bool:
    """CumSum over a constant axis: a product with a triangular matrix of ones."""
    x, axis_name = node.input
    axis_value = walk.constant(axis_name)
    if axis_value is None:
        raise UnsupportedModel("CumSum: its axis must be a constant")
    attrs, shape = attributes(node), walk.shape(x)
    axis = int(axis_value.item()) % len(shape)
    if shape[axis] > _MAX_CUMSUM:
        raise UnsupportedModel(f"CumSum: an axis of more than {_MAX_CUMSUM} is not supported")
    matrix = np.triu(np.ones((shape[axis],) * 2), k=1 if attrs.get("exclusive", 0) else 0)
    if attrs.get("reverse", 0):
        matrix = matrix.T
    order = [n for n in range(len(shape)) if n != axis] + [axis]
    back = [order.index(n) for n in range(len(shape))]
    ones = walk.const(np.ascontiguousarray(matrix).astype(walk.dtype(x)))
    last = walk.op("Transpose", x, perm=order)
    rows = reshape(walk, last, [int(np.prod(shape)) // shape[axis], shape[axis]])
    sums = reshape(walk, walk.op("MatMul", rows, ones), walk.shape(last))
    walk.op("Transpose", sums, outputs=node.output, perm=back)
    return True
