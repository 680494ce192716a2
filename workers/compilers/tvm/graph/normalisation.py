"""Rewrites of normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.compilers.tvm.graph.build import real, reduce, reshape
from workers.compilers.tvm.graph.functions import by_definition
from workers.compilers.tvm.graph.nodes import attributes, used_outputs

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_TRAINING_MODE_OPSET = 14


def layer_normalization(node: onnx.NodeProto, walk: Walk) -> bool:
    """Use the definition if mean or deviation are wanted too: TVM's importer returns others."""
    return used_outputs(node) > 1 and by_definition(node, walk)


def batch_normalization(node: onnx.NodeProto, walk: Walk) -> bool:
    """Batch normalisation in training mode (ONNX BatchNormalization-14): statistics of this batch,
    over all axes but the channels'.
    """
    attrs = attributes(node)
    if walk.opset < _TRAINING_MODE_OPSET or not attrs.get("training_mode", 0):
        return False
    x, scale, bias, old_mean, old_var = node.input
    shape = walk.shape(x)
    axes = [0, *range(2, len(shape))]
    channels = [shape[1]] + [1] * (len(shape) - 2)
    mean = reduce(walk, "ReduceMean", x, axes)
    centred = walk.op("Sub", x, mean)
    var = reduce(walk, "ReduceMean", walk.op("Mul", centred, centred), axes)
    epsilon = real(walk, attrs.get("epsilon", 1e-5))
    deviation = walk.op("Sqrt", walk.op("Add", var, epsilon))
    gain = reshape(walk, scale, channels)
    offset = reshape(walk, bias, channels)
    scaled = walk.op("Mul", walk.op("Div", centred, deviation), gain)
    walk.op("Add", scaled, offset, outputs=node.output[:1])
    momentum = attrs.get("momentum", 0.9)
    for output, old, new in zip(node.output[1:3], (old_mean, old_var), (mean, var), strict=False):
        flat = reshape(walk, new, walk.shape(old))
        kept = walk.op("Mul", old, real(walk, momentum))
        added = walk.op("Mul", flat, real(walk, 1 - momentum))
        walk.op("Add", kept, added, outputs=[output])
    return True


def lp_normalization(node: onnx.NodeProto, walk: Walk) -> bool:
    """LpNormalization is x / norm(x, p) along an axis, not a number where the norm is 0."""
    attrs = attributes(node)
    norm_op = "ReduceL1" if attrs.get("p", 2) == 1 else "ReduceL2"
    norm = reduce(walk, norm_op, node.input[0], [attrs.get("axis", -1)])
    walk.op("Div", node.input[0], norm, outputs=node.output)
    return True
