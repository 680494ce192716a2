"""Rewrite of the discrete Fourier transform as a product with a constant matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.build import ints, reshape, unstack
from workers.compilers.tvm.graph.nodes import attributes, optional

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.evaluate import Array
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
    cosine, sine = (walk.const(wave) for wave in _waves(size, taken, bins))
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


def stft(node: onnx.NodeProto, walk: Walk) -> bool:
    """STFT of a real signal [batch, length, 1] (ONNX STFT-17): frames, window, DFT of each."""
    signal, step_name = node.input[:2]
    batch, length, parts = walk.shape(signal)
    if parts != 1:
        raise UnsupportedModel("STFT: complex signals are not supported")
    window, size_name = optional(node, 2), optional(node, 3)
    size = _known(walk, size_name) if size_name else walk.shape(window)[0]
    step = _known(walk, step_name)
    count = (length - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)[None, :]
    flat = reshape(walk, signal, [batch, length])
    frames = walk.op("Gather", flat, walk.const(places.astype(np.int64)), axis=1)
    if window:
        frames = walk.op("Mul", frames, window)
    onesided = attributes(node).get("onesided", 1)
    bins = size // 2 + 1 if onesided else size
    cosine, sine = _waves(size, size, bins)
    halves = [walk.op("MatMul", frames, walk.const(wave)) for wave in (cosine, -sine)]
    wide = [reshape(walk, half, [batch, count, bins, 1]) for half in halves]
    walk.op("Concat", *wide, outputs=node.output, axis=3)
    return True


def _waves(size: int, taken: int, bins: int) -> tuple[Array, Array]:
    """Return cosine and sine of 2πkn/size, [taken, bins] each."""
    angles = 2 * np.pi * np.outer(np.arange(taken), np.arange(bins)) / size
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _axis(node: onnx.NodeProto, walk: Walk) -> int:
    if walk.opset < _AXIS_INPUT_OPSET:
        return int(attributes(node).get("axis", 1))
    name = optional(node, 2)
    return _known(walk, name) if name else -2


def _known(walk: Walk, name: str) -> int:
    value = walk.constant(name)
    if value is None:
        raise UnsupportedModel("DFT: its length, axis and step must be constants")
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
