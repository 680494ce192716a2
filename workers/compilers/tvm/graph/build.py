"""Small pieces of graph that several rewrites add, in a form every operator set version has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workers.compilers.tvm.graph.walk import Walk

_SPLIT_INPUT_OPSET = 13
_REDUCE_INPUT_OPSET = 18


def ints(walk: Walk, *values: int) -> str:
    """Add a one-dimensional int64 constant."""
    return walk.const(np.array(values, dtype=np.int64))


def real(walk: Walk, value: float) -> str:
    """Add a float32 scalar."""
    return walk.const(np.array(value, dtype=np.float32))


def reshape(walk: Walk, name: str, shape: Sequence[int]) -> str:
    """Add a Reshape, unless the shape is so already; return the result's name."""
    if walk.shape(name) == tuple(shape):
        return name
    return walk.op("Reshape", name, ints(walk, *shape))


def split(walk: Walk, name: str, sizes: Sequence[int], axis: int) -> list[str]:
    """Add a Split into `sizes` along `axis`; return the names of the parts."""
    if len(sizes) == 1:
        return [name]
    parts = [walk.fresh() for _ in sizes]
    if walk.opset < _SPLIT_INPUT_OPSET:
        walk.op("Split", name, outputs=parts, axis=axis, split=list(sizes))
    else:
        walk.op("Split", name, ints(walk, *sizes), outputs=parts, axis=axis)
    return parts


def unstack(walk: Walk, name: str, axis: int) -> list[str]:
    """Add a Split of `name` into slices along `axis`, without that axis; return their names."""
    shape = walk.shape(name)
    axis %= len(shape)
    rest = [*shape[:axis], *shape[axis + 1 :]]
    return [reshape(walk, part, rest) for part in split(walk, name, [1] * shape[axis], axis)]


def stack(walk: Walk, names: Sequence[str], axis: int) -> str:
    """Return the name of all values joined along a new axis."""
    shape = list(walk.shape(names[0]))
    axis %= len(shape) + 1
    wide = [reshape(walk, name, [*shape[:axis], 1, *shape[axis:]]) for name in names]
    return walk.op("Concat", *wide, axis=axis)


def reduce(walk: Walk, op_type: str, x: str, axes: Sequence[int]) -> str:
    """Add a reduction of `x` (not ReduceSum) that keeps its axes; return its name."""
    if walk.opset < _REDUCE_INPUT_OPSET:
        return walk.op(op_type, x, axes=list(axes), keepdims=1)
    return walk.op(op_type, x, ints(walk, *axes), keepdims=1)
