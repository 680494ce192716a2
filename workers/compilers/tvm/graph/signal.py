"""Rewrite of the discrete Fourier transform as a product with a constant matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.build import ints, reshape, unstack
from workers.compilers.tvm.graph.nodes import attributes, optional

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_AXIS_INPUT_OPSET = 20


def dft(node: onnx.NodeProto, walk: Walk) -> bool:
    """DFT along one axis of a real or complex (last dimension 2) tensor (ONNX DFT-17, DFT-20).

    y[k] = Σ x[n] e^(-2πikn/N), the sum over n < N.
    """
    attrs = attributes(node)
    x = node.input[0]
    shape = walk.shape(x)
    axis = _axis(node, walk) % len(shape)
    length = optional(node, 1)
    size = shape[axis] if not length else _known(walk, length)
    if attrs.get("inverse", 0):
        # Its results are small differences of large terms: float32 does not hold them.
        raise UnsupportedModel("DFT: the inverse transform is not supported")
    onesided = attrs.get("onesided", 0)
    bins = size // 2 + 1 if onesided else size
    taken = min(size, shape[axis])  # zero padding adds nothing to the sums
    angles = 2 * np.pi * np.outer(np.arange(taken), np.arange(bins)) / size
    cosine = walk.const(np.cos(angles).astype(np.float32))
    sine = walk.const(np.sin(angles).astype(np.float32))
    parts = _parts(walk, x, axis, taken)
    real, imaginary = walk.op("MatMul", parts[0], cosine), walk.op("MatMul", parts[0], sine)
    imaginary = walk.op("Neg", imaginary)
    if len(parts) > 1:
        real = walk.op("Add", real, walk.op("MatMul", parts[1], sine))
        imaginary = walk.op("Add", imaginary, walk.op("MatMul", parts[1], cosine))
    rank = len(shape) - 1
    back = [walk.op("Transpose", part, perm=_swap(rank, axis)) for part in (real, imaginary)]
    wide = [reshape(walk, part, [*walk.shape(part), 1]) for part in back]
    walk.op("Concat", *wide, outputs=node.output, axis=rank)
    return True


def _axis(node: onnx.NodeProto, walk: Walk) -> int:
    if walk.opset < _AXIS_INPUT_OPSET:
        return int(attributes(node).get("axis", 1))
    name = optional(node, 2)
    return _known(walk, name) if name else -2


def _known(walk: Walk, name: str) -> int:
    value = walk.constant(name)
    if value is None:
        raise UnsupportedModel("DFT: its length and axis must be constants")
    return int(value.item())


def _parts(walk: Walk, x: str, axis: int, taken: int) -> list[str]:
    """Return the real and, if there is one, imaginary part of `x`, the axis last and cut."""
    shape = walk.shape(x)
    rank = len(shape) - 1

    if taken < shape[axis]:
        x = walk.op("Slice", x, ints(walk, 0), ints(walk, taken), ints(walk, axis))
    halves = unstack(walk, x, rank)
    return [walk.op("Transpose", half, perm=_swap(rank, axis)) for half in halves]


def _swap(rank: int, axis: int) -> list[int]:
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return order
