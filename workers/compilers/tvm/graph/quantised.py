"""Rewrites of quantised operators: dequantise, compute, quantise (ONNX QLinearConv and others)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workers.compilers.tvm.graph.build import ints, real, reshape
from workers.compilers.tvm.graph.nodes import attributes, optional

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_FLOAT, _INT32 = 1, 6  # onnx.TensorProto


def qlinear_conv(node: onnx.NodeProto, walk: Walk) -> bool:
    """QLinearConv(x, xs, xz, w, ws, wz, ys, yz, B): B is int32 of scale xs × ws."""
    from onnx.helper import make_node

    x, xs, xz, w, ws, wz, ys, yz = node.input[:8]
    by_channel: dict[str, Any] = {"axis": 0} if walk.shape(ws) and walk.shape(ws) != (1,) else {}
    operands = [
        walk.op("DequantizeLinear", x, xs, xz),
        walk.op("DequantizeLinear", w, ws, wz, **by_channel),
    ]
    if bias := optional(node, 8):
        scale = walk.op("Mul", xs, ws)
        whole = walk.op("Cast", bias, to=_FLOAT)
        operands.append(walk.op("Mul", whole, scale))
    result = walk.fresh()
    walk.add(make_node("Conv", operands, [result], **attributes(node)))
    walk.op("QuantizeLinear", result, ys, yz, outputs=node.output)
    return True


def qlinear_matmul(node: onnx.NodeProto, walk: Walk) -> bool:
    """QLinearMatMul(a, as, az, b, bs, bz, ys, yz)."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.input
    product = walk.op(
        "MatMul",
        walk.op("DequantizeLinear", a, a_scale, a_zero),
        walk.op("DequantizeLinear", b, b_scale, b_zero),
    )
    walk.op("QuantizeLinear", product, y_scale, y_zero, outputs=node.output)
    return True


def conv_integer(node: onnx.NodeProto, walk: Walk) -> bool:
    """ConvInteger(x, w, xz, wz): an int32 convolution of the values less their zero points."""
    from onnx.helper import make_node

    operands = []
    for index, zero_index in ((0, 2), (1, 3)):
        value = walk.op("Cast", node.input[index], to=_INT32)
        zero = optional(node, zero_index)
        if zero:
            value = walk.op("Sub", value, walk.op("Cast", zero, to=_INT32))
        operands.append(value)
    # ONNX has no Conv of integers, TVM's importer has.
    walk.keep(make_node("Conv", operands, node.output, **attributes(node)), like=node)
    return True


def quantize_linear(node: onnx.NodeProto, walk: Walk) -> bool:
    """Blocked QuantizeLinear: spread the scales over their blocks, then
    saturate(round(x / scale) + zero_point) element by element.
    """
    attrs = attributes(node)
    block = attrs.get("block_size", 0)
    if not block:
        return False
    x, scale, zero = node.input[0], node.input[1], optional(node, 2)
    axis = attrs.get("axis", 1) % len(walk.shape(x))
    steps = walk.op("Round", walk.op("Div", x, _spread(walk, scale, x, axis, block)))
    dtype = walk.dtype(zero) if zero else np.dtype(np.uint8)
    if attrs.get("output_dtype"):
        from onnx.helper import tensor_dtype_to_np_dtype

        dtype = tensor_dtype_to_np_dtype(attrs["output_dtype"])
    if zero:
        spread = _spread(walk, walk.op("Cast", zero, to=_FLOAT), x, axis, block)
        steps = walk.op("Add", steps, spread)
    limits = np.iinfo(dtype)
    low, high = real(walk, limits.min), real(walk, limits.max)
    from onnx.helper import np_dtype_to_tensor_dtype

    walk.op(
        "Cast",
        walk.op("Clip", steps, low, high),
        outputs=node.output,
        to=np_dtype_to_tensor_dtype(dtype),
    )
    return True


def dequantize_linear(node: onnx.NodeProto, walk: Walk) -> bool:
    """Blocked DequantizeLinear: (x - zero_point) × scale, the scales spread over their blocks."""
    attrs = attributes(node)
    block = attrs.get("block_size", 0)
    if not block:
        return False
    x, scale, zero = node.input[0], node.input[1], optional(node, 2)
    axis = attrs.get("axis", 1) % len(walk.shape(x))
    value = walk.op("Cast", x, to=_FLOAT)
    if zero:
        offset = _spread(walk, walk.op("Cast", zero, to=_FLOAT), x, axis, block)
        value = walk.op("Sub", value, offset)
    walk.op("Mul", value, _spread(walk, scale, x, axis, block), outputs=node.output)
    return True


def _spread(walk: Walk, scale: str, x: str, axis: int, block: int) -> str:
    """Repeat each element of `scale` `block` times along `axis`, cut to the size of `x`."""
    shape = list(walk.shape(scale))
    repeated = [*shape[: axis + 1], block, *shape[axis + 1 :]]
    merged = [*shape[:axis], shape[axis] * block, *shape[axis + 1 :]]

    wide = reshape(walk, scale, [*shape[: axis + 1], 1, *shape[axis + 1 :]])
    spread = reshape(walk, walk.op("Expand", wide, ints(walk, *repeated)), merged)
    size = walk.shape(x)[axis]
    return walk.op("Slice", spread, ints(walk, 0), ints(walk, size), ints(walk, axis))
