"""Nested loops over strided tensors: contiguous strides, and neighbouring dimensions made one."""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]


def contiguous(shape: Sequence[int]) -> Shape:
    """Return the element strides of a row-major tensor."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    return tuple(strides)


def broadcast(shape: Sequence[int], target: Sequence[int]) -> Shape:
    """Return the strides with which a tensor of `shape` is read over `target`, 0 where repeated.

    Raises:
        ValueError: `shape` does not broadcast to `target`.
    """
    padded = (1,) * (len(target) - len(shape)) + tuple(shape)
    if len(padded) != len(target) or any(
        p not in (1, t) for p, t in zip(padded, target, strict=True)
    ):
        raise ValueError(f"shape {tuple(shape)} does not broadcast to {tuple(target)}")
    steps = contiguous(padded)
    return tuple(0 if p == 1 else s for p, s in zip(padded, steps, strict=True))


def merge(counts: Sequence[int], *strides: Sequence[int]) -> tuple[Shape, list[Shape]]:
    """Return the same loops without dimensions of 1 and with neighbours joined where all allow."""
    dims: list[tuple[int, ...]] = []
    for dim in zip(counts, *strides, strict=True):
        if dim[0] == 1:
            continue
        if dims and all(dims[-1][k] == dim[0] * dim[k] for k in range(1, len(dim))):
            dims[-1] = (dims[-1][0] * dim[0], *dim[1:])
        else:
            dims.append(dim)
    columns = [tuple(dim[k] for dim in dims) for k in range(len(strides) + 1)]
    return columns[0], columns[1:]
