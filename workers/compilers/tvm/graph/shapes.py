"""Rewrites of operators that only give a tensor another shape, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.compilers.tvm.graph.build import ints

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk


def as_reshape(node: onnx.NodeProto, walk: Walk) -> bool:
    """Replace Flatten, Reshape, Squeeze and Unsqueeze by a Reshape to the shape they result in:
    TVM's importer knows them only in part (axes as a scalar, allowzero).
    """
    from onnx.helper import make_node

    shape = walk.infer_shape(node)
    if 0 in shape:
        return False
    walk.keep(make_node("Reshape", [node.input[0], ints(walk, *shape)], node.output))
    return True


def split(node: onnx.NodeProto, walk: Walk) -> bool:
    """Leave out the parts without elements, which TVM's importer refuses."""
    from onnx.helper import make_node

    kept = [name for name in node.output if 0 not in walk.infer_shape(node, name)]
    if len(kept) == len(node.output):
        return False
    for name in node.output:
        if name not in kept:
            walk.empty(name, node)
    sizes = ints(walk, *(walk.infer_shape(node, name)[_axis(node, walk)] for name in kept))
    if len(kept) == 1:
        walk.op("Identity", node.input[0], outputs=kept)
    else:
        walk.add(make_node("Split", [node.input[0], sizes], kept, axis=_axis(node, walk)))
    return True


def _axis(node: onnx.NodeProto, walk: Walk) -> int:
    from workers.compilers.tvm.graph.nodes import attributes

    return int(attributes(node).get("axis", 0)) % len(walk.shape(node.input[0]))
