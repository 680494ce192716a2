"""Rewrites of convolutions and pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.nodes import attributes, used_outputs

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk


def conv_transpose(node: onnx.NodeProto, walk: Walk) -> bool:
    """Turn ``output_shape``, which TVM's importer ignores, into pads (ONNX ConvTranspose)."""
    from onnx.helper import make_node

    attrs = attributes(node)
    wanted = attrs.pop("output_shape", None)
    if wanted is None:
        return False
    sizes = walk.shape(node.input[0])[2:]
    kernel = attrs.get("kernel_shape") or walk.shape(node.input[1])[2:]
    rank = len(sizes)
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    extra = list(attrs.get("output_padding") or [0] * rank)
    upper = attrs.pop("auto_pad", "NOTSET") == "SAME_UPPER"
    begins, ends = [], []
    for i, size in enumerate(wanted[-rank:]):
        full = strides[i] * (sizes[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        total = full - size
        if total < 0:  # the output is larger than the input reaches: append zeros
            extra[i] -= total
            total = 0
        begins.append(total // 2 if upper else total - total // 2)
        ends.append(total - begins[-1])
    attrs.update(pads=begins + ends, output_padding=extra)
    walk.add(make_node("ConvTranspose", node.input, node.output, **attrs))
    return True


def max_pool(node: onnx.NodeProto, walk: Walk) -> bool:
    """Keep it, unless the indices of the maxima are wanted."""
    del walk
    if used_outputs(node) > 1:
        raise UnsupportedModel("MaxPool: its second output (Indices) is not supported")
    return False


def roi_align(node: onnx.NodeProto, walk: Walk) -> bool:
    """Keep it but for the maximum, which TVM takes over other points than ONNX."""
    del walk
    if attributes(node).get("mode", "avg") == "max":
        raise UnsupportedModel("RoiAlign: mode max is computed wrongly by TVM's importer")
    return False
