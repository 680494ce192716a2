"""Sparse constants of TFLite: what making them dense reads and writes must exist.

The layout is that of ``SparsityParameters`` in TensorFlow's schema.fbs: the dimensions of the
tensor and of its blocks in the order they are stored in, each dense or as compressed rows
(segments[i] to segments[i + 1] of indices are those of row i that are there).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from tinymlaas.contract.errors import InvalidModel
from workers.models.tflite_model import TfliteDimension, TfliteSparsity, TfliteTensor


def check_sparsity(where: str, tensor: TfliteTensor, sparsity: TfliteSparsity) -> None:
    """Check that `sparsity` describes as many elements as the tensor has stored, all inside it.

    Raises:
        InvalidModel: it does not; `where` names the tensor.
    """
    rank, blocks = len(tensor.shape), len(sparsity.blocks)
    if (
        tensor.data_bytes is None
        or len(sparsity.dimensions) != rank + blocks
        or sorted(sparsity.order[:rank]) != list(range(rank))
        or sorted(sparsity.order[rank:]) != list(range(rank, rank + blocks))
        or any(not 0 <= dim < rank for dim in sparsity.blocks)
        or len(set(sparsity.blocks)) != blocks
    ):
        raise _damaged(where, "an order of dimensions that is none")
    sizes = _sizes(where, tensor.shape, sparsity)
    stored = 1
    for position, dimension in zip(sparsity.order, sparsity.dimensions, strict=True):
        stored = _stored(where, stored, sizes[position], dimension)
        if stored > tensor.size:
            raise _damaged(where, "more elements than its shape")
    if tensor.nbytes and tensor.size:
        width, odd = divmod(tensor.nbytes, tensor.size)
        if odd or tensor.data_bytes != stored * width:
            raise _damaged(where, f"{tensor.data_bytes} bytes for {stored} elements")


def _sizes(where: str, shape: Sequence[int], sparsity: TfliteSparsity) -> list[int]:
    """Return the size of each dimension: of the tensor counted in blocks, then of the blocks."""
    rank = len(shape)
    outer, inner = list(shape), []
    for block, dim in enumerate(sparsity.blocks):
        place = sparsity.order.index(rank + block)
        size = sparsity.dimensions[place].size
        if size < 1 or outer[dim] % size:
            raise _damaged(where, f"blocks of {size} in a dimension of {shape[dim]}")
        outer[dim] //= size
        inner.append(size)
    if prod(outer) * prod(inner) != prod(shape):
        raise _damaged(where, "blocks that do not fill it")
    return [*outer, *inner]


def _stored(where: str, rows: int, size: int, dimension: TfliteDimension) -> int:
    """Return how many elements are there after this dimension of `size`, for `rows` before it."""
    if dimension.dense:
        if dimension.size != size:
            raise _damaged(where, f"a dense dimension of {dimension.size}, not {size}")
        return rows * size
    segments, indices = dimension.segments, dimension.indices
    if len(segments) != rows + 1 or segments[0] != 0 or segments[-1] != len(indices):
        raise _damaged(where, "segments that do not go with its rows")
    if any(after < before for before, after in pairwise(segments)):
        raise _damaged(where, "segments that go back")
    if any(not 0 <= index < size for index in indices):
        raise _damaged(where, "an index outside its shape")
    return len(indices)


def _damaged(where: str, what: str) -> InvalidModel:
    return InvalidModel(f"damaged TFLite model: {where} is sparse with {what}")
