"""Rewrite of Resize: every axis on its own, by gathering neighbours with constant weights."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph import resampling
from workers.compilers.tvm.graph.nodes import attributes, optional

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.evaluate import Array
    from workers.compilers.tvm.graph.walk import Walk

_MAX_TAPS = 4
"""Above so many neighbours an element, a product with the weight matrix is shorter code."""


def resize(node: onnx.NodeProto, walk: Walk) -> bool:
    """Replace Resize whose scales or sizes are constants; interpolation is linear in the input and
    works axis by axis, so each axis is a constant matrix, mostly of a few entries a row.
    """
    attrs = attributes(node)
    names = {field.name for field in fields(resampling.Sampling)}
    sampling = resampling.Sampling(**{k: v for k, v in attrs.items() if k in names})
    outside = attrs.get("extrapolation_value", 0.0)
    crops = sampling.coordinate_transformation_mode == "tf_crop_and_resize"
    x = node.input[0]
    if sampling.mode != "nearest" and walk.dtype(x) != np.float32:
        raise UnsupportedModel(f"Resize: mode {sampling.mode} is supported for float32 only")
    for number, axis in _axes(node, walk, attrs).items():
        matrix = resampling.weights(axis, sampling)
        bias = np.zeros(axis.after)
        if crops:
            at = resampling.positions(axis, sampling.coordinate_transformation_mode)
            beyond = (at < 0) | (at > axis.before - 1)
            matrix[beyond], bias[beyond] = 0.0, outside
        x = _apply(walk, x, number, matrix.astype(np.float32), bias.astype(np.float32))
    walk.op("Identity", x, outputs=node.output)
    return True


def _axes(node: onnx.NodeProto, walk: Walk, attrs: dict[str, Any]) -> dict[int, resampling.Axis]:
    """Return the axes that are not left as they are, by number."""
    before = walk.shape(node.input[0])
    after = walk.infer_shape(node)
    numbers = [a % len(before) for a in attrs.get("axes") or range(len(before))]
    scales = _constant(walk, optional(node, 2))
    sizes = _constant(walk, optional(node, 3))
    roi = _constant(walk, optional(node, 1))
    if scales is None:
        ratios = np.array([after[n] for n in numbers]) if sizes is None else sizes
        scales = ratios / np.array([before[n] for n in numbers])
        policy = attrs.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            common = scales.min() if policy == "not_larger" else scales.max()
            scales = np.full(len(numbers), common)
    crops = attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    found = {}
    for i, n in enumerate(numbers):
        region = (0.0, 1.0)
        if crops and roi is not None:
            region = (float(roi[i]), float(roi[i + len(numbers)]))
        if attrs.get("coordinate_transformation_mode") == "align_corners" and (
            not np.isclose(before[n] * scales[i], after[n], atol=1e-6)
        ):
            raise UnsupportedModel(
                "Resize: ONNX and onnxruntime disagree on align_corners where a scale gives no"
                " whole number of elements, so it cannot be verified"
            )
        axis = resampling.Axis(before[n], after[n], float(scales[i]), region)
        if axis != resampling.Axis(before[n], before[n], 1.0):
            found[n] = axis
    return found


def _constant(walk: Walk, name: str) -> Array | None:
    """Return the value of an optional input, None if it is left out or empty."""
    if not name:
        return None
    value = walk.constant(name)
    if value is None:
        raise UnsupportedModel("Resize: the shape of its output depends on input values")
    return value if value.size else None


def _apply(walk: Walk, x: str, axis: int, matrix: Array, bias: Array) -> str:
    """Multiply `matrix` [after, before] with the axis of `x` and add `bias` [after]."""
    rank = len(walk.shape(x))
    taps = int((matrix != 0).sum(axis=1).max())
    wide = [1] * rank
    wide[axis] = len(bias)
    if taps > _MAX_TAPS:
        order = [n for n in range(rank) if n != axis] + [axis]
        back = [order.index(n) for n in range(rank)]
        last = walk.op("Transpose", x, perm=order)
        product = walk.op("MatMul", last, walk.const(np.ascontiguousarray(matrix.T)))
        result = walk.op("Transpose", product, perm=back)
    else:
        result = ""
        order_by_weight = np.argsort(matrix == 0, axis=1, kind="stable")  # non-zeros first
        for tap in range(max(taps, 1)):
            columns = order_by_weight[:, tap]
            weight = np.take_along_axis(matrix, columns[:, None], axis=1).reshape(wide)
            term = walk.op("Gather", x, walk.const(columns.astype(np.int64)), axis=axis)
            if not (weight == 1).all():
                term = walk.op("Mul", term, walk.const(weight))
            result = walk.op("Add", result, term) if result else term
    if bias.any():
        result = walk.op("Add", result, walk.const(bias.reshape(wide)))
    return result
